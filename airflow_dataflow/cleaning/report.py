"""The report of a cleaning: one page of HTML without anything from elsewhere, so that it opens years later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from airflow_dataflow.datasets.manifest import Rows

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1d2433, #e6e9f0); --soft: light-dark(#5d6880, #9aa5bd);
  --line: light-dark(#dfe4ee, #333c50); --paper: light-dark(#fff, #151a24); --kept: #2f9e74; --lost: #d9822b; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
p { color: var(--soft); margin: .25rem 0 1rem; overflow-wrap: anywhere; }
dl { display: flex; gap: 2.5rem; margin: 1.5rem 0 .75rem; } dt { color: var(--soft); }
dd { margin: 0; font-size: 1.7rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.whole { display: flex; height: .6rem; border-radius: .3rem; overflow: hidden; background: var(--line); }
.whole i { background: var(--kept); } .whole i + i { background: var(--lost); }
.bar { width: 14rem; } .bar i { display: block; height: .8rem; margin-top: .3rem; border-radius: .2rem;
  background: var(--lost); min-width: 1px; }
code { font-size: .9em; }
"""


def render(title: str, rows: Rows, statistics: Mapping[str, Any]) -> str:
    """Return the page.

    :param title: what was cleaned.
    :param rows: the row counts.
    :param statistics: what the manifest says of the cleaning.
    """
    body = [
        f"<h1>Cleaning report</h1><p>{escape(title)}</p>",
        _overview(rows),
        _section(
            "Why rows were rejected", ("rule", "reason", "rows", "share", ""), _reasons(rows, statistics["rules"])
        ),
        _section(
            "Rules, in order", ("rule", "parameters", "rows in", "rejected", "edited"), _rules(statistics["rules"])
        ),
        _section("What the rules have learned", ("rule", "column", "values"), _learned(statistics["rules"])),
        _section("Columns", *_columns(statistics["columns"])),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Cleaning report: {escape(title)}</title>\n<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def _overview(rows: Rows) -> str:
    kept, lost = _share(rows.rows_out, rows.rows_in), _share(rows.rows_quarantined, rows.rows_in)
    numbers = {"rows in": rows.rows_in, "kept": rows.rows_out, "in quarantine": rows.rows_quarantined}
    return (
        f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{count:,}</dd></div>' for name, count in numbers.items())}</dl>"
        f'<div class="whole" title="{kept} kept"><i style="width:{kept}"></i><i style="width:{lost}"></i></div>'
    )


def _reasons(rows: Rows, rules: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    found = [(count, rule["key"], reason) for rule in rules for reason, count in rule["rejected"].items()]
    most = max((count for count, _, _ in found), default=0)
    return [
        [
            _code(key),
            _code(reason),
            _number(count),
            f'<span class="number">{_share(count, rows.rows_in)}</span>',
            f'<div class="bar"><i style="width:{_share(count, most)}"></i></div>',
        ]
        for count, key, reason in sorted(found, key=lambda item: (-item[0], item[1:]))
    ]


def _rules(rules: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    lines = []
    for rule in rules:
        edits = ((statistic, sum(by.values())) for statistic, by in rule["counts"].items())
        edited = ", ".join(f"{_words(statistic)} {count:,}" for statistic, count in sorted(edits) if count)
        given = ", ".join(f"{name}: {_value(value)}" for name, value in rule["parameters"].items())
        lines.append(
            [_code(rule["key"]), given, _number(rule["rows_in"]), _number(sum(rule["rejected"].values())), edited]
        )
    return lines


def _learned(rules: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [_code(rule["key"]), _code(column), _value(state)]
        for rule in rules
        for column, state in sorted(rule["state"].items())
    ]


def _columns(columns: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    statistics = sorted(
        {name for counts in columns.values() for name in counts}, key=lambda name: (name != "missing", name)
    )
    lines = [
        [_code(column), *(_number(counts[name]) if name in counts else "" for name in statistics)]
        for column, counts in columns.items()
    ]
    return ["column", *map(_words, statistics)], lines


def _section(title: str, heads: Iterable[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return f"<h2>{title}</h2><p>none</p>"
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<h2>{title}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _number(count: int) -> str:
    return f'<div class="number">{count:,}</div>'


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0%"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(name))} {_value(item)}" for name, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return " ".join(_value(item) for item in value) or "none"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else escape(str(value))
