"""The operator that sends versions to many sites."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Asset

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Rows
from airflow_dataflow.operators.replication import ReplicateDatasetOperator
from airflow_dataflow.transfer.limits import StoppedError

pytestmark = pytest.mark.airflow


@pytest.fixture
def topology(tmp_path):
    """Return three sites in a row."""
    sites = {"hub": {"tier": "hot"}, **{name: {"url": str(tmp_path / name)} for name in ("fra", "ams")}}
    return {"sites": sites, "links": [{"between": ["hub", "fra"]}, {"between": ["fra", "ams"]}]}


@pytest.fixture
def reference(connected_store):
    """Return a version with one file of five bytes."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    with connected_store.draft("support/model", at=at, fingerprint="4f2a9c") as draft:
        with draft.create("model/part") as file:
            file.write(b"model")
        return draft.commit(Rows()).reference


@pytest.fixture
def replicate(run_dag):
    """Return a function that runs a DAG with one replication."""

    def run(**options):
        with DAG("replications", schedule=None) as dag:
            ReplicateDatasetOperator(task_id="replicate", retries=9, retry_delay=timedelta(0), **options)
        return run_dag(dag, logical_date=None)

    return run


def test_a_version_is_sent_to_all_sites_and_each_copy_is_announced(
    connected_store, replicate, reference, topology, tmp_path, events, returned, lineage
):
    run = replicate(reference="support/model@latest", topology=topology)
    assert run.state == "success"
    report = returned(run, "replicate")
    assert (report["reference"], report["bytes_sent"], report["files"]) == (reference, 10, 2)
    version = reference.partition("@")[2]
    assert (tmp_path / "ams" / "support" / "model" / version / MANIFEST_NAME).exists()
    found = dict(events(run))
    assert set(found) == {(tmp_path / name).as_uri() for name in ("fra", "ams")}
    extra = found[(tmp_path / "ams").as_uri()]
    assert (extra["reference"], extra["site"], extra["source"], extra["bytes_sent"]) == (reference, "ams", "fra", 5)
    assert set(lineage()[0]) == {"dataflow://dataflow_default/support/model"}
    assert set(lineage()[1]) == set(found)
    assert returned(replicate(reference=reference, topology=topology), "replicate")["bytes_skipped"] == 10


def test_tasks_that_are_mapped_over_sites_do_one_each(
    connected_store, run_dag, reference, topology, tmp_path, serialized
):
    with DAG("replications", schedule=None) as dag:
        ReplicateDatasetOperator.partial(
            task_id="to", reference=reference, topology=topology, patience_seconds=0.5, retry_delay=timedelta(0)
        ).expand(at=["fra", "ams"])
    run = run_dag(dag, logical_date=None)
    assert run.state == "success"
    assert [task.map_index for task in run.get_task_instances()] == [0, 1]
    assert len(connected_store.catalog.replicas("support/model", reference.partition("@")[2])) == 3


def test_an_outlet_that_is_declared_gets_the_event(connected_store, replicate, reference, topology, tmp_path, events):
    outlet = Asset(name="copies", uri=(tmp_path / "fra").as_uri())
    run = replicate(reference=reference, topology=topology, targets=["fra"], outlets=[outlet], objective="cost")
    assert run.state == "success"
    ((uri, extra),) = events(run)
    assert (uri, extra["site"]) == (outlet.uri, "fra")


def test_a_site_that_fails_fails_the_task_and_the_others_are_announced(
    connected_store, replicate, reference, topology, tmp_path, capfd
):
    (tmp_path / "fra").write_text("no folder")
    run = replicate(reference=reference, topology=topology)
    assert run.state == "failed"
    out = capfd.readouterr().out
    assert f"1 of 2 sites do not have {reference}: fra: " in out
    assert (tmp_path / "ams" / "support" / "model" / reference.partition("@")[2] / MANIFEST_NAME).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["frr"]}, "no site named 'frr'; did you mean 'fra'?"),
        ({"objective": "tme"}, "objective: Input should be 'cost' or 'time'"),
        ({"topology": "/nowhere.yaml"}, "no topology file '/nowhere.yaml'"),
        ({"reference": "support/modell@latest"}, "did you mean 'support/model'?"),
    ],
)
def test_what_is_wrong_fails_at_once(connected_store, replicate, reference, topology, capfd, options, message):
    (task,) = replicate(**{"reference": reference, "topology": topology, **options}).get_task_instances()
    assert (task.state, task.try_number) == ("failed", 1)
    assert message in capfd.readouterr().out


def test_a_killed_task_ends_within_seconds(connected_store, reference, topology):
    task = ReplicateDatasetOperator(task_id="replicate", reference=reference, topology=topology, at="ams")
    task.on_kill()
    began = threading.Event()
    ended = []

    def execute():
        began.set()
        try:
            task.execute({"ti": _Task(), "task": task, "task_state_store": None})
        except StoppedError as error:
            ended.append(str(error))

    thread = threading.Thread(target=execute)
    thread.start()
    assert began.wait(60)
    while thread.is_alive():
        # fra never begins, so the task waits for it until it is killed.
        task.on_kill()
        thread.join(0.2)
    assert ended == ["the transfer was stopped; the next attempt goes on where it was"]


class _Task:
    """What a task instance tells of itself."""

    dag_id, run_id, task_id, map_index, try_number = "replications", "run", "replicate", -1, 1
