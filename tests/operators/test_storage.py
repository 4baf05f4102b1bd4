"""Operators that bring data into the store and keep it in order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException, TaskDeferralTimeout, TaskDeferred

from airflow_dataflow.assets import dataset_asset
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.hooks.storage import directory
from airflow_dataflow.operators.storage import (
    IngestDatasetOperator,
    RebalanceTiersOperator,
    RestoreDatasetOperator,
    SweepDatasetsOperator,
)
from airflow_dataflow.sensors.storage import RestoreSensor
from airflow_dataflow.storage.restore import RestoreWatch
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.journal import FileProgress

pytestmark = pytest.mark.airflow

NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


@pytest.fixture
def ingest(run_dag, landing):
    """Return a function that runs a DAG with one ingest."""

    def run(source=landing, run_after=NIGHT, **options):
        with DAG("ingests", schedule=None, params={"source": Param("/nowhere"), "dataset": Param("support")}) as dag:
            IngestDatasetOperator(
                task_id="ingest",
                source="{{ params.source }}",
                target="{{ params.dataset }}/raw",
                retries=9,
                retry_delay=timedelta(0),
                **options,
            )
        return run_dag(dag, run_after=run_after, logical_date=None, run_conf={"source": str(source)})

    return run


def test_an_ingest_returns_the_version_of_the_runs_own_time(connected_store, ingest, returned):
    run = ingest()
    manifest = connected_store.manifest("support/raw@latest")
    assert run.state == "success"
    assert returned(run, "ingest") == manifest.reference
    assert (manifest.created_at, manifest.rows_in) == (NIGHT, 6)


def test_a_night_without_new_files_makes_no_new_version(connected_store, ingest, returned):
    first = returned(ingest(), "ingest")
    assert returned(ingest(run_after=NIGHT + timedelta(days=1)), "ingest") == first
    assert len(connected_store.catalog.manifests("support/raw")) == 1


def test_a_version_is_an_asset_event_with_its_counts(connected_store, ingest, events):
    run = ingest()
    manifest = connected_store.manifest("support/raw@latest")
    ((uri, extra),) = events(run)
    assert uri == "dataflow://dataflow_default/support/raw"
    assert (extra["reference"], extra["rows_in"], extra["rows_out"]) == (manifest.reference, 6, 6)


def test_an_outlet_of_the_author_gets_the_event(connected_store, ingest, events):
    ((uri, extra),) = events(ingest(outlets=[dataset_asset("support/raw")]))
    assert (uri, extra["rows_in"]) == ("dataflow://dataflow_default/support/raw", 6)


def test_lineage_goes_from_the_landing_folder_to_the_dataset(connected_store, ingest, lineage, landing):
    ingest()
    assert lineage() == ([landing.as_uri()], ["dataflow://dataflow_default/support/raw"])


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("/nowhere/at/all", {}, "nothing at /nowhere/at/all"),
        (None, {"options": {"mising": "drop"}}, "ingest has no parameter 'mising'; did you mean 'missing'?"),
        (None, {"dataflow_conn_id": "other"}, "connection 'other' is not defined"),
    ],
)
def test_what_a_person_has_to_correct_fails_at_once(connected_store, ingest, landing, capfd, source, options, message):
    run = ingest(source=source or landing, **options)
    (task,) = run.get_task_instances()
    assert (task.state, task.try_number) == ("failed", 1)
    assert message in capfd.readouterr().out


def test_older_versions_go_to_the_warm_and_then_to_the_coldest_tier(connected_store, run_dag, returned):
    references = []
    for night in range(5):
        at, fingerprint = NIGHT + timedelta(days=night), f"{night:06}"
        with connected_store.draft("support/raw", at=at, fingerprint=fingerprint) as draft:
            references.append(draft.commit(Rows()).reference)
    with DAG("rebalances", schedule=None, params={"dataset": Param("support")}) as dag:
        RebalanceTiersOperator(task_id="cool", datasets=["{{ params.dataset }}/raw"], hot_versions=2, warm_versions=2)
    run = run_dag(dag, logical_date=None)
    assert run.state == "success"
    assert sorted(returned(run, "cool")) == references[:3]
    tiers = [connected_store.catalog.replicas(*reference.split("@"))[0].tier for reference in references]
    assert tiers == ["cold", "warm", "warm", "hot", "hot"]


def test_what_a_killed_task_left_is_removed_after_the_grace(connected_store, run_dag, returned, tmp_path):
    left = tmp_path / "hot" / "support" / "raw" / "20261123T021500Z-000000" / "data"
    left.mkdir(parents=True)
    (left / "a.parquet").write_text("half a file")

    def sweep(grace):
        with DAG("sweeps", schedule=None) as dag:
            SweepDatasetsOperator(task_id="sweep", grace=grace)
        return returned(run_dag(dag, logical_date=None), "sweep")

    assert sweep(timedelta(hours=1)) == []
    assert left.exists()
    assert sweep(timedelta(0)) == [left.parent.as_uri()]
    assert not left.exists()


def test_what_an_abandoned_transfer_had_begun_to_upload_is_removed(connected_store, run_dag, returned, tmp_path):
    target = directory(str(tmp_path / "elsewhere"))
    with CatalogJournal(connected_store.catalog, "4f2a9c", target.root) as journal:
        upload = target.begin_upload("big.bin", size=2 << 20, part_bytes=1 << 20)
        upload.put(0, bytes(1 << 20))
        begun = FileProgress(source_stamp="mtime:1", bytes=2 << 20, part_bytes=1 << 20, handle=upload.handle)
        journal.save({target.path("big.bin"): begun})
    with DAG("sweeps", schedule=None) as dag:
        SweepDatasetsOperator(task_id="sweep", grace=timedelta(0))
    assert returned(run_dag(dag, logical_date=None), "sweep") == [target.path("big.bin")]
    assert [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()] == []


QUICK = {"poke_interval": 0.01}


@pytest.mark.s3
def test_a_restore_ends_when_every_file_can_be_read(archive, run_dag):
    with DAG("restores", schedule=None, params={"dataset": Param("x"), "speed": Param("x")}) as dag:
        RestoreDatasetOperator(
            task_id="restore", reference="{{ params.dataset }}@latest", speed="{{ params.speed }}", **QUICK
        )
    run = run_dag(dag, run_after=NIGHT, logical_date=None, run_conf={"dataset": "support/dialogs", "speed": "Standard"})
    assert run.state == "success"
    assert archive.store.verify(archive.manifest)


@pytest.mark.s3
def test_the_triggerer_that_waits_for_a_restore_ends_the_task_with_its_counts(archive):
    task = RestoreDatasetOperator(task_id="restore", reference="support/dialogs@latest", tier="cold", **QUICK)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    assert deferred.value.timeout == timedelta(days=3)
    event = asyncio.run(anext(deferred.value.trigger.run()))
    assert event.xcoms["return_value"] == {
        "version": archive.manifest.reference,
        "tier": "cold",
        "files": 3,
        "bytes": 7,
        "readable": 0,
        "requested": 3,
    }


@pytest.mark.s3
def test_a_restore_that_does_not_wait_is_waited_for_by_a_sensor(archive, run_dag, returned):
    with DAG("restores_then_waits", schedule=None) as dag:
        ask = RestoreDatasetOperator(task_id="ask", reference="support/dialogs@latest", wait=False)
        ask >> RestoreSensor(task_id="wait", reference="support/dialogs@latest", timeout=60, **QUICK)
    run = run_dag(dag, run_after=NIGHT, logical_date=None)
    assert run.state == "success"
    assert returned(run, "ask")["requested"] == 3
    assert RestoreWatch(archive.store, "support/dialogs").look()


def test_a_restore_on_a_tier_without_archives_ends_at_once(connected_store, run_dag, returned):
    with connected_store.draft("support/raw", at=NIGHT, fingerprint="4f2a9c") as draft:
        with draft.create("data/0.bin") as writer:
            writer.write(b"x")
        draft.commit(Rows())
    with DAG("restores_nothing", schedule=None) as dag:
        RestoreDatasetOperator(task_id="restore", reference="support/raw@latest")
    run = run_dag(dag, run_after=NIGHT, logical_date=None)
    assert run.state == "success"
    assert returned(run, "restore")["readable"] == returned(run, "restore")["files"] == 1


@pytest.mark.s3
def test_a_restore_that_cannot_be_fails_at_once(archive, run_dag):
    with DAG("restores_wrongly", schedule=None) as dag:
        RestoreDatasetOperator(task_id="restore", reference="support/dialogs@latest", speed="Bluk", retries=9)
    run = run_dag(dag, run_after=NIGHT, logical_date=None)
    assert run.state == "failed"
    assert run.get_task_instance("restore").try_number == 1


def test_a_restore_that_takes_too_long_says_what_to_do():
    task = RestoreDatasetOperator(
        task_id="restore", reference="support/dialogs@latest", wait_timeout=timedelta(hours=5)
    )
    with pytest.raises(TaskDeferralTimeout, match="waited 5:00:00 for the restore of support/dialogs@latest: archives"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    with pytest.raises(AirflowFailException, match="nobody has asked"):
        task.execute_complete({}, {"error": "nobody has asked"})
