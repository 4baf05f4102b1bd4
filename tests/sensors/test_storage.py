"""Sensors that wait for data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_dataflow.sensors.storage import ObjectSensor, RestoreSensor
from airflow_dataflow.storage.restore import restore_version

QUICK = {"settle_seconds": 0.1, "poke_interval": 0.1}


@pytest.fixture
def landing(tmp_path):
    """Return a folder with one complete file."""
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "a.csv").write_text("id\n1\n")
    return folder


def test_waiting_starts_in_the_triggerer_with_everything_that_it_needs():
    sensor = ObjectSensor(task_id="wait", url="s3://bucket/{{ run_id }}", timeout=60, **QUICK)
    assert sensor.start_from_trigger
    assert sensor.start_trigger_args.timeout == timedelta(minutes=1)
    assert sensor.start_trigger_args.trigger_kwargs == {
        "url": "s3://bucket/{{ run_id }}",
        "conn_id": None,
        "min_files": 1,
        "settle_seconds": 0.1,
        "formats": "ingested",
        "poke_interval": 0.1,
    }
    assert not ObjectSensor(task_id="wait", url="x", deferrable=False).start_from_trigger


@pytest.mark.airflow
@pytest.mark.parametrize("deferrable", [True, False])
def test_the_sensor_ends_when_files_are_complete(run_dag, landing, deferrable):
    with DAG("waits", schedule=None, params={"source": Param(str(landing))}) as dag:
        ObjectSensor(task_id="wait", url="{{ params.source }}", deferrable=deferrable, timeout=20, **QUICK)
    assert run_dag(dag, logical_date=None).state == "success"


def test_a_worker_that_waits_reports_what_it_found(landing):
    sensor = ObjectSensor(task_id="wait", url=str(landing), deferrable=False, **QUICK)
    assert sensor.execute({}) == {"files": 1, "bytes": 5}


def test_waiting_too_long_says_where_and_how_long(tmp_path):
    sensor = ObjectSensor(task_id="wait", url=f"{tmp_path}/nothing", deferrable=False, timeout=0.3, **QUICK)
    with pytest.raises(AirflowSensorTimeout, match=r"waited 0:00:00.3\S* for 1 complete files at \S+/nothing"):
        sensor.execute({})


def test_waiting_too_long_in_the_triggerer_says_the_same():
    sensor = ObjectSensor(task_id="wait", url="s3://bucket/nothing", timeout=7200)
    with pytest.raises(AirflowSensorTimeout, match="waited 2:00:00 for 1 complete files at s3://bucket/nothing"):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_an_error_that_stays_fails_the_task_at_once():
    with pytest.raises(AirflowFailException, match="no installed Airflow provider opens gopher://"):
        ObjectSensor(task_id="wait", url="gopher://x/y", deferrable=False, **QUICK).execute({})
    with pytest.raises(AirflowFailException, match="refused"):
        ObjectSensor(task_id="wait", url="x").execute_complete({}, {"error": "refused"})


@pytest.mark.airflow
def test_a_real_triggerer_renders_the_url_and_ends_the_task_without_a_worker(ended_by_triggerer, landing):
    with DAG("triggerer", schedule=None, params={"source": Param("/nowhere")}) as dag:
        ObjectSensor(task_id="wait", url="{{ params.source }}/*.csv", **QUICK)
    assert ended_by_triggerer(dag, {"source": str(landing)}) == {"files": 1, "bytes": 5}


def test_waiting_for_a_restore_starts_in_the_triggerer_with_everything_that_it_needs():
    sensor = RestoreSensor(task_id="wait", reference="support/dialogs@{{ run_id }}", tier="cold", timeout=60)
    assert sensor.start_from_trigger
    assert sensor.start_trigger_args.timeout == timedelta(minutes=1)
    assert sensor.start_trigger_args.trigger_kwargs == {
        "reference": "support/dialogs@{{ run_id }}",
        "tier": "cold",
        "dataflow_conn_id": "dataflow_default",
        "poke_interval": 300.0,
        "result": None,
        "resume": False,
    }
    assert not RestoreSensor(task_id="wait", reference="x", deferrable=False).start_from_trigger


@pytest.mark.s3
def test_a_worker_waits_until_every_file_can_be_read(archive):
    restore_version(archive.store, "support/dialogs", days=1, speed="Bulk")
    sensor = RestoreSensor(task_id="wait", reference="support/dialogs", deferrable=False, poke_interval=0.01)
    assert sensor.execute({}) == {"version": archive.manifest.reference, "tier": "cold", "files": 3, "bytes": 7}
    assert archive.store.verify(archive.manifest)


@pytest.mark.s3
def test_waiting_for_a_restore_that_nobody_has_asked_for_fails_at_once(archive):
    sensor = RestoreSensor(task_id="wait", reference="support/dialogs", deferrable=False, poke_interval=0.01)
    with pytest.raises(AirflowFailException, match=r"nobody has asked for it, .*: run RestoreDatasetOperator"):
        sensor.execute({})


def test_waiting_too_long_for_a_restore_says_what_to_do():
    sensor = RestoreSensor(task_id="wait", reference="support/dialogs@latest", timeout=7200)
    with pytest.raises(
        AirflowSensorTimeout, match="waited 2:00:00 for the restore of support/dialogs@latest: archives"
    ):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    with pytest.raises(AirflowFailException, match="refused"):
        sensor.execute_complete({}, {"error": "refused"})
