"""Sensors that wait for versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.sensors.datasets import DatasetVersionSensor

NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


@pytest.fixture
def version(connected_store):
    """Return a function that makes an empty version of ``support/raw``."""

    def commit(at=NIGHT, fingerprint="abcdef"):
        with connected_store.draft("support/raw", at=at, fingerprint=fingerprint) as draft:
            return draft.commit(Rows()).reference

    return commit


def test_waiting_starts_in_the_triggerer_with_everything_that_it_needs():
    sensor = DatasetVersionSensor(
        task_id="wait", dataset="{{ params.name }}", newer_than="{{ params.old }}", since=NIGHT, timeout=60
    )
    assert sensor.start_from_trigger
    assert sensor.start_trigger_args.timeout == timedelta(minutes=1)
    assert sensor.start_trigger_args.trigger_kwargs == {
        "dataset": "{{ params.name }}",
        "newer_than": "{{ params.old }}",
        "since": "2026-11-23T02:15:00+00:00",
        "dataflow_conn_id": "dataflow_default",
        "poke_interval": 30.0,
    }


def test_a_worker_that_waits_returns_the_fixed_reference(version):
    reference = version()
    sensor = DatasetVersionSensor(task_id="wait", dataset="support/raw", deferrable=False)
    assert sensor.execute({}) == reference


@pytest.mark.airflow
@pytest.mark.parametrize("deferrable", [True, False])
def test_the_age_of_a_version_counts_from_the_runs_own_time(run_dag, version, returned_by, deferrable):
    references = [version(), version(NIGHT + timedelta(days=1), "b" * 6)]
    with DAG("waits", schedule=None, params={"old": Param("")}) as dag:
        DatasetVersionSensor(
            task_id="wait",
            dataset="support/raw",
            newer_than="{{ params.old }}",
            since=timedelta(hours=24),
            deferrable=deferrable,
            poke_interval=0.1,
            timeout=20,
        )
    run = run_dag(dag, logical_date=None, run_after=NIGHT + timedelta(days=2), run_conf={"old": references[0]})
    assert run.state == "success"
    if not deferrable:  # DAG.test drops what a trigger returns
        assert returned_by(run, "wait") == references[1]


@pytest.mark.airflow
def test_a_real_triggerer_renders_the_moment_and_ends_the_task_without_a_worker(ended_by_triggerer, version):
    reference = version(datetime.now(UTC))
    with DAG("version", schedule=None, params={"name": Param("support")}) as dag:
        DatasetVersionSensor(
            task_id="wait", dataset="{{ params.name }}/raw", since=timedelta(hours=1), poke_interval=0.5
        )
    assert ended_by_triggerer(dag, {"name": "support"}) == reference


def test_waiting_too_long_says_for_what(connected_store):
    sensor = DatasetVersionSensor(
        task_id="wait", dataset="support/raw", newer_than="a@b", since="2026-11-23", deferrable=True, timeout=7200
    )
    message = "waited 2:00:00 for a version of support/raw newer than a@b and of 2026-11-23 or later: look at the run"
    with pytest.raises(AirflowSensorTimeout, match=message):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_a_wrong_name_fails_the_task_at_once(connected_store):
    with pytest.raises(AirflowFailException, match="invalid dataset name 'Support'"):
        DatasetVersionSensor(task_id="wait", dataset="Support", deferrable=False).execute({})
