"""A run while it runs: a live table in a terminal, a line per finished task anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from airflow_dataflow.demo.api import AirflowApi, TaskState

_POLL_SECONDS = 0.5
_SIGNS = {
    "success": "[green]✓ done[/]",
    "failed": "[bold red]✗ failed[/]",
    "upstream_failed": "[red]- not run[/]",
    "skipped": "[dim]- skipped[/]",
    "running": "[cyan]▶ running[/]",
    "deferred": "[cyan]◷ waiting[/]",
    "up_for_retry": "[yellow]↻ retry soon[/]",
}


@dataclass(frozen=True)
class Failure:
    """Why a run failed."""

    task_id: str
    message: str
    """The error as the task logged it."""
    log: str
    """Path of the task's log file."""


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    dag_id: str
    run_id: str
    state: str
    """``success`` or ``failed``."""
    seconds: float
    """From the trigger to the end."""
    tasks: tuple[TaskState, ...]
    """In the order in which they depend on each other."""
    failures: tuple[Failure, ...] = ()
    """Tasks that ended with an error of their own."""

    def task_seconds(self, task_id: str) -> float:
        """Return how long a task took, 0 when it did not run."""
        now = datetime.now(UTC)
        return next((task.seconds(now) or 0.0 for task in self.tasks if task.task_id == task_id), 0.0)


def watch(
    api: AirflowApi,
    dag_id: str,
    run_id: str,
    *,
    console: Console,
    describe: Callable[[TaskState], str],
    check: Callable[[], None],
) -> Run:
    """Show a run until it ends.

    :param describe: says in a few words what a finished task has done.
    :param check: called while waiting; raises when waiting is in vain.
    """
    order = api.task_order(dag_id)
    begun = time.monotonic()
    said: dict[str, str] = {}
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            state = api.run_state(dag_id, run_id)
            tasks = sorted(api.tasks(dag_id, run_id), key=lambda task: order.index(task.task_id))
            for task in tasks:
                if task.is_finished and task.task_id not in said:
                    said[task.task_id] = describe(task)
                    if live is None:
                        console.print(_line(task, said[task.task_id]))
            if live is not None:
                doing = {t.task_id: api.progress(dag_id, run_id, t.task_id) for t in tasks if t.state == "running"}
                live.update(_table(tasks, doing | said), refresh=True)
            if state in ("success", "failed"):
                break
            check()
            time.sleep(_POLL_SECONDS)
    failures = tuple(_failure(api, dag_id, run_id, task) for task in tasks if task.failed)
    return Run(dag_id, run_id, state, time.monotonic() - begun, tuple(tasks), failures)


def _table(tasks: list[TaskState], words: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, options in (("task", {}), ("state", {}), ("seconds", {"justify": "right"}), ("", {"overflow": "fold"})):
        table.add_column(name, header_style="dim", **options)  # type: ignore[arg-type]
    for task in tasks:
        table.add_row(task.task_id, _sign(task), _seconds(task), escape(words.get(task.task_id, "")))
    return table


def _line(task: TaskState, words: str) -> str:
    return f"  {task.task_id:<20} {_sign(task)}  {_seconds(task):>6} s  {escape(words)}".rstrip()


def _sign(task: TaskState) -> str:
    attempt = f" [yellow](attempt {task.try_number})[/]" if task.try_number > 1 else ""
    return _SIGNS.get(task.state or "", f"[dim]· {task.state or 'to do'}[/]") + attempt


def _seconds(task: TaskState) -> str:
    seconds = task.seconds(datetime.now(UTC))
    return "" if seconds is None else f"{seconds:.1f}"


def _failure(api: AirflowApi, dag_id: str, run_id: str, task: TaskState) -> Failure:
    path, errors = "", []
    for event in api.log(dag_id, run_id, task):
        text = str(event.get("event", ""))
        if not path and text.endswith(".log"):
            path = text
        if event.get("level") in ("error", "critical"):
            details = event.get("error_detail") or []
            reasons = [f"{item['exc_type']}: {item['exc_value']}" for item in details]
            errors.append(reasons[0] if reasons else text)
    return Failure(task.task_id, errors[-1] if errors else "the task's process ended without a word", path)
