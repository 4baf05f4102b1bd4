"""Counts of what cleaning found, one tree for each source file; the trees of several files add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from airflow_dataflow.cleaning.steps import STEP, Step, parameters_of
from airflow_dataflow.datasets.manifest import Rows

Tally = dict[str, Any]
"""``{"rows": {"in", "out"}, "missing": {column: n}, "rules": {key: {statistic: {name: n}}}}``."""

READING = "ingest"
"""Stands for a rule's key where rows could not be read at all."""

EMPTY: Tally = {"rows": {"in": 0, "out": 0}, "missing": {}, "rules": {}}


def tally_of(counts: pl.DataFrame | None, steps: Sequence[Step]) -> Tally:
    """Return the tree of one file from the counts of its batches, ``None`` for a file without rows."""
    if counts is None:
        return EMPTY
    sums = counts.group_by(STEP, "statistic", "name").agg(pl.col("count").sum())
    tree: Tally = {}
    for index, statistic, name, count in sums.sort(STEP, "statistic", "name").iter_rows():
        leaf = {statistic: {name: count}}
        tree = add(tree, leaf if index is None else {"rules": {steps[index].key: leaf}})
    return add(EMPTY, tree)


def unreadable(reasons: Mapping[str, int]) -> Tally:
    """Return the tree of rows that could not be read."""
    rejected = {"rules": {READING: {"rejected": dict(reasons)}}} if reasons else {}
    return add(EMPTY, {"rows": {"in": sum(reasons.values()), "out": 0}} | rejected)


def total(tallies: Iterable[Tally]) -> Tally:
    """Add up the trees of several files."""
    whole = EMPTY
    for tally in tallies:
        whole = add(whole, tally)
    return whole


def add(left: Mapping[str, Any], right: Mapping[str, Any]) -> Tally:
    """Add two trees of numbers, branch by branch."""
    result = dict(left)
    for name, value in right.items():
        known = result.get(name)
        if known is None:
            result[name] = value
        else:
            result[name] = add(known, value) if isinstance(value, Mapping) else known + value
    return result


def rows_of(tally: Tally) -> Rows:
    """Return the row counts of a tree, with every rejected row under its reason."""
    reasons: dict[str, int] = {}
    for counts in tally["rules"].values():
        reasons = add(reasons, counts.get("rejected", {}))
    return Rows(
        rows_in=tally["rows"]["in"],
        rows_out=tally["rows"]["out"],
        rows_quarantined=sum(reasons.values()),
        quarantined_by_reason=dict(sorted(reasons.items())),
    )


def statistics_of(tally: Tally, steps: Sequence[Step]) -> dict[str, Any]:
    """Return what a manifest says of a cleaning: for each rule what it saw and did, for each column what it lacked."""
    columns: dict[str, dict[str, int]] = {column: {"missing": count} for column, count in tally["missing"].items()}
    rules = []
    rows = tally["rows"]["in"]
    if READING in tally["rules"]:
        # Rows that could not be read reach no rule.
        rules.append(_rule_statistics(READING, READING, rows, tally["rules"][READING]))
        rows -= sum(rules[0]["rejected"].values())
    for step in steps:
        found = _rule_statistics(step.key, step.name, rows, tally["rules"].get(step.key, {}))
        rules.append({**found, "parameters": parameters_of(step.rule), "state": dict(step.state)})
        rows -= sum(found["rejected"].values())
        for statistic, by_column in found["counts"].items():
            for column, count in by_column.items():
                columns[column] = add(columns.get(column, {}), {statistic: count})
    return {"rules": rules, "columns": columns}


def _rule_statistics(key: str, rule: str, rows: int, counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": key,
        "rule": rule,
        "parameters": {},
        "rows_in": rows,
        "rejected": counts.get("rejected", {}),
        "counts": {statistic: by_column for statistic, by_column in counts.items() if statistic != "rejected"},
        "state": {},
    }
