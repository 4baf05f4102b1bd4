"""What operators take from Airflow's context, and what they leave there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_dataflow.operators._context import run_time, task_progress

NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("run_after", "logical_date"), [(NIGHT, None), (NIGHT, datetime(2026, 1, 1, tzinfo=UTC)), (None, NIGHT)]
)
def test_a_run_belongs_to_the_moment_after_which_it_might_start(run_after, logical_date):
    run = SimpleNamespace(run_after=run_after, logical_date=logical_date, run_id="manual")
    assert run_time({"dag_run": run}) == NIGHT


@pytest.mark.airflow
def test_progress_can_be_followed_while_a_task_runs(run_dag):
    seen = []

    class Works(BaseOperator):
        def execute(self, context):
            report = task_progress(context, every_seconds=0)
            for done in (1, 2):
                report("reading a.csv", done, 2, "rows")
                seen.append(context["task_state_store"].get("progress"))

    with DAG("works", schedule=None) as dag:
        Works(task_id="work")
    assert run_dag(dag, logical_date=None).state == "success"
    what = {"what": "reading a.csv", "total": 2, "unit": "rows"}
    assert seen[0] == {**what, "done": 1}
    assert {name: seen[1][name] for name in (*what, "done", "left_seconds")} == {**what, "done": 2, "left_seconds": 0}
    assert seen[1]["per_second"] > 0


def test_progress_is_stored_only_every_few_seconds():
    stored = []
    store = SimpleNamespace(set=lambda key, value: stored.append(value["done"]))
    report = task_progress({"task_state_store": store}, every_seconds=60)
    for done in range(1000):
        report("reading", done, 1000, "rows")
    assert stored == [0]


def test_work_goes_on_when_progress_cannot_be_stored(caplog):
    def refuse(key, value):
        raise ConnectionError("no API")

    report = task_progress({"task_state_store": SimpleNamespace(set=refuse)})
    with caplog.at_level(logging.WARNING):
        report("reading", 1, 2, "rows")
    assert "progress could not be stored: no API" in caplog.text


def test_progress_is_logged_where_airflow_keeps_no_state_of_tasks(caplog):
    with caplog.at_level(logging.INFO):
        task_progress({}, every_seconds=0)("reading", 1, 2, "rows")
    assert "reading: 1 of 2 rows" in caplog.text
