"""Errors of the library in Airflow tasks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_dataflow.errors import GateFailedError, JobFailedError, StorageFullError
from airflow_dataflow.operators._context import run_time
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors


@pytest.mark.parametrize("error", [GateFailedError("too low"), StorageFullError("disk full"), PermissionError("no")])
def test_an_error_that_a_retry_cannot_change_fails_the_task_at_once(error):
    with pytest.raises(AirflowFailException, match=str(error)) as caught, fail_at_once_on_terminal_errors():
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [JobFailedError("died"), TimeoutError("slow"), ConnectionResetError("gone")])
def test_an_error_that_may_pass_is_left_to_airflows_retries(error):
    with pytest.raises(type(error), match=str(error)), fail_at_once_on_terminal_errors():
        raise error


@pytest.mark.airflow
def test_a_task_is_tried_again_after_an_error_that_may_pass_and_not_after_one_that_stays(run_dag):
    attempts = []

    class Flaky(BaseOperator):
        def execute(self, context):
            attempts.append(run_time(context))
            with fail_at_once_on_terminal_errors():
                raise JobFailedError("died") if len(attempts) < 3 else GateFailedError("too low")

    with DAG("flaky", schedule=None) as dag:
        Flaky(task_id="flaky", retries=9, retry_delay=timedelta(0))
    run = run_dag(dag, logical_date=None)
    assert run.state == "failed"
    assert attempts == [run.run_after] * 3
