"""Watching a run: each task is told of once, and a failure with its reason."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from rich.console import Console

from airflow_dataflow.demo import watch as watch_module
from airflow_dataflow.demo.api import AirflowApi, TaskState
from airflow_dataflow.demo.watch import Run, watch

START = datetime(2026, 11, 1, 2, 15, tzinfo=UTC)


def _task(name: str, state: str | None, seconds: float | None = None, attempt: int = 1) -> TaskState:
    return TaskState(name, state, attempt, START, None if seconds is None else START + timedelta(seconds=seconds))


class Script:
    """An API whose run goes through given states."""

    def __init__(self, *moments: tuple[str, list[TaskState]]) -> None:
        self.moments = list(moments)
        self.events: list[dict[str, Any]] = []

    def task_order(self, _dag_id: str) -> list[str]:
        return ["ingest", "train"]

    def run_state(self, _dag_id: str, _run_id: str) -> str:
        return self.moments[0][0]

    def tasks(self, _dag_id: str, _run_id: str) -> list[TaskState]:
        return self.moments.pop(0)[1]

    def progress(self, _dag_id: str, _run_id: str, task_id: str) -> str:
        return f"{task_id}: 5 of 9 rows"

    def log(self, _dag_id: str, _run_id: str, _task: TaskState) -> Iterator[dict[str, Any]]:
        return iter(self.events)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_POLL_SECONDS", 0)


def _watched(script: Script, *, terminal: bool = False) -> tuple[Run, str]:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    run = watch(
        cast(AirflowApi, script), "d", "r", console=console, describe=lambda task: f"<{task.task_id}>",
        check=lambda: None,
    )  # fmt: skip
    return run, cast(io.StringIO, console.file).getvalue()


def _three_moments() -> Script:
    return Script(
        ("running", [_task("train", None), _task("ingest", "running")]),
        ("running", [_task("train", "running", attempt=2), _task("ingest", "success", 1.5)]),
        ("success", [_task("train", "success", 20, attempt=2), _task("ingest", "success", 1.5)]),
    )


def test_without_a_terminal_each_finished_task_is_one_line() -> None:
    _, text = _watched(_three_moments())
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "ingest ✓ done 1.5 s <ingest>",
        "train ✓ done (attempt 2) 20.0 s <train>",
    ]


def test_in_a_terminal_running_tasks_tell_of_their_progress() -> None:
    _, text = _watched(_three_moments(), terminal=True)
    assert "train: 5 of 9 rows" in text
    assert "<train>" in text


def test_the_run_has_its_tasks_in_the_order_of_the_dag() -> None:
    run, _ = _watched(_three_moments())
    assert run.state == "success"
    assert [task.task_id for task in run.tasks] == ["ingest", "train"]
    assert run.task_seconds("train") == 20
    assert run.task_seconds("unknown") == 0
    assert run.failures == ()


def test_a_failure_is_told_with_the_error_and_the_log_of_the_task() -> None:
    script = Script(("failed", [_task("ingest", "failed", 2.0), _task("train", "upstream_failed")]))
    error = {"exc_type": "AirflowFailException", "exc_value": "nothing at /x: check the path"}
    script.events = [
        {"event": "::group::Log message source details"},
        {"event": "/home/airflow/logs/attempt=1.log"},
        {"event": "a warning", "level": "warning"},
        {"event": "Task failed with exception", "level": "error", "error_detail": [error]},
    ]
    run, _ = _watched(script)
    (failure,) = run.failures
    assert (failure.task_id, failure.log) == ("ingest", "/home/airflow/logs/attempt=1.log")
    assert failure.message == "AirflowFailException: nothing at /x: check the path"


def test_a_task_that_was_killed_says_so() -> None:
    script = Script(("failed", [_task("ingest", "failed", 2.0)]))
    run, _ = _watched(script)
    assert run.failures[0].message == "the task's process ended without a word"
