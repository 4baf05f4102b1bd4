"""What commands print: one answer, as a table for people or as JSON for programs, and progress while they work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from airflow_dataflow.progress import Progress, no_progress

_WIDTH_OF_FILES = 200


@dataclass(frozen=True)
class Answer:
    """What a command found out."""

    data: Any
    """What JSON shows: mappings, lists, text and numbers."""
    rows: Sequence[Mapping[str, Any]] | None = None
    """What the table shows; made from ``data`` when ``None``."""
    summary: str = ""
    """A sentence below the table."""
    succeeded: bool = True
    """``False`` makes the command end with code 1, although its answer is complete."""


def show(answer: Answer, form: str) -> None:
    """Print an answer to standard output.

    :param form: ``"json"`` or ``"table"``.
    """
    if form == "json":
        sys.stdout.write(json.dumps(answer.data, indent=2, ensure_ascii=False, default=str) + "\n")
        return
    rows = _rows(answer.data) if answer.rows is None else answer.rows
    if rows:
        _print_table(rows)
    if answer.summary:
        sys.stdout.write(answer.summary + "\n")


def _rows(data: Any) -> list[Mapping[str, Any]]:
    if isinstance(data, Mapping):
        return [{"name": key, "value": value} for key, value in data.items()]
    return list(data)


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=SIMPLE, pad_edge=False)
    for name in names:
        numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in names))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    with console.capture() as drawn:  # rich ends the process when the reader of its output has gone
        console.print(table)
    sys.stdout.write(drawn.get())


def _cell(value: Any) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:,.4f}"
        case Mapping():
            text = ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
        case list() | tuple():
            text = ", ".join(_cell(item) for item in value)
        case _:
            text = str(value)
    return text


@contextmanager
def progress_bars(stream: TextIO) -> Iterator[Progress]:
    """Show the progress of long work as bars on a terminal; elsewhere nothing is shown.

    :param stream: standard error, so that the answer stays alone on standard output.
    """
    if not stream.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Pace(ProgressColumn):
        """How much is done, and how fast it goes."""

        def render(self, task: Task) -> Text:
            return Text(_pace(int(task.completed), int(task.total or 0), task.fields["unit"], task.speed))

    columns = (TextColumn("{task.description}"), BarColumn(), Pace(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(file=stream), transient=True) as bars:
        tasks = {}

        def report(what: str, done: int, total: int, unit: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, unit=unit)
            bars.update(tasks[what], completed=done, total=total, unit=unit)

        yield report


def _pace(done: int, total: int, unit: str, speed: float | None) -> str:
    """Return e.g. ``1.2 GB of 3.0 GB, 98.1 MB/s``, or ``3 of 7 files``."""
    if unit != "bytes":
        return f"{done:,} of {total:,} {unit}"
    from rich.filesize import decimal

    return f"{decimal(done)} of {decimal(total)}" + ("" if speed is None else f", {decimal(int(speed))}/s")
