"""Operators that copy data to where others use it."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, Asset

from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.hooks.storage import directory
from airflow_dataflow.operators._journal import task_control
from airflow_dataflow.operators.transfer import TransferOperator
from airflow_dataflow.transfer.limits import StoppedError
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.triggers.storage import FileRestoreTrigger
from tests.storage.hdfs.clusters import connection_to

pytestmark = pytest.mark.airflow


@pytest.fixture
def transfer(run_dag):
    """Return a function that runs a DAG with one transfer."""

    def run(**options):
        with DAG("transfers", schedule=None) as dag:
            TransferOperator(task_id="transfer", retries=9, retry_delay=timedelta(0), **options)
        return run_dag(dag, logical_date=None)

    return run


@pytest.fixture
def reference(connected_store):
    """Return a version with one file of five bytes."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    with connected_store.draft("support/model", at=at, fingerprint="4f2a9c") as draft:
        with draft.create("model/part") as file:
            file.write(b"model")
        return draft.commit(Rows()).reference


@pytest.mark.s3
def test_a_version_is_published_to_s3_through_the_connection_in_the_url(
    connected_store, transfer, reference, bucket, events, returned, lineage
):
    run = transfer(source="support/model@latest", target=f"s3://aws_default@{bucket}/published")
    assert run.state == "success"
    report = returned(run, "transfer")
    assert (report["files"], report["bytes_sent"]) == (1, 5)
    dataset, _, version = reference.partition("@")
    target = directory(f"s3://{bucket}/published/{dataset}/{version}")
    assert json.loads(target.read("_manifest.json"))["version"] == version
    assert target.read("model/part") == b"model"
    assert connected_store.catalog.published(dataset).reference == reference
    ((uri, extra),) = events(run)
    assert (uri, extra["source"]) == (f"s3://{bucket}/published", [reference])
    assert lineage() == (["dataflow://dataflow_default/support/model"], [f"s3://{bucket}/published"])


@pytest.mark.hdfs
def test_files_go_to_hdfs_and_back_by_urls_that_only_name_a_connection(
    connected_store, transfer, hdfs_cluster, monkeypatch, tmp_path, events, lineage
):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection_to(hdfs_cluster, nameservice="warehouse"))
    monkeypatch.chdir(tmp_path)
    name = f"transfers-{uuid.uuid4().hex}"
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "a b.csv").write_bytes(b"id\n1\n")
    run = transfer(source=f"{tmp_path}/landing", target=f"hdfs://warehouse@/{name}")
    assert run.state == "success"
    assert directory(f"hdfs://warehouse@/{name}").read("a b.csv") == b"id\n1\n"
    ((uri, _),) = events(run)
    assert uri == f"hdfs://warehouse/{name}"
    assert lineage()[1] == [uri]
    assert transfer(source=f"hdfs://warehouse@/{name}/*.csv", target=f"{tmp_path}/back").state == "success"
    assert (tmp_path / "back" / "a b.csv").read_bytes() == b"id\n1\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("hdfs")) == []


def test_several_versions_are_published_at_once_and_a_second_time_costs_nothing(
    connected_store, transfer, reference, tmp_path, returned
):
    with connected_store.draft("support/raw", at=datetime.now(UTC), fingerprint="000000") as draft:
        draft.commit(Rows())
    options = {"source": [reference, "support/raw@latest"], "target": str(tmp_path / "published")}
    assert transfer(**options).state == "success"
    assert (tmp_path / "published" / "support" / "raw").exists()
    assert returned(transfer(**options), "transfer")["bytes_sent"] == 0


def test_files_are_copied_from_one_url_to_another(connected_store, transfer, landing, tmp_path, events):
    published = Asset(name="files", uri=(tmp_path / "copies").as_uri())
    run = transfer(source=f"{landing}/*.csv", target=str(tmp_path / "copies"), outlets=[published])
    assert run.state == "success"
    assert (tmp_path / "copies" / "monday.csv").read_bytes() == (landing / "monday.csv").read_bytes()
    ((uri, extra),) = events(run)
    assert (uri, extra["files"]) == (published.uri, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("support/modell@latest", "no dataset named 'support/modell'; did you mean 'support/model'?"),
        (["/a", "support/model@latest"], "references such as 'name@latest' and URLs cannot go together"),
        ("/nowhere/*.csv", "names no file"),
    ],
)
def test_a_source_that_is_wrong_fails_at_once(connected_store, transfer, reference, tmp_path, capfd, source, message):
    (task,) = transfer(source=source, target=str(tmp_path / "published")).get_task_instances()
    assert (task.state, task.try_number) == ("failed", 1)
    assert message in capfd.readouterr().out


# attempts -------------------------------------------------------------------------------------

MIB = 1 << 20


class KilledOnce(TransferOperator):
    """Is killed when a part has arrived, and tried again."""

    def execute(self, context):
        self.seen = {"killed": "", "limits": None, "state": None}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_dataflow.operators.transfer.task_progress", lambda _context: self._kill)
            with pytest.raises(StoppedError) as stopped:
                super().execute(context)
        self.seen |= {"killed": str(stopped.value), "state": context["task_state_store"].get("transfer")}
        report = super().execute(context)
        self.seen |= {"limits": self._control.limits, "after": context["task_state_store"].get("transfer")}
        context["ti"].xcom_push(key="seen", value={name: str(value) for name, value in self.seen.items()})
        return report

    def _kill(self, _what, done, _total, _unit):
        if done:
            self.on_kill()


@pytest.fixture
def large(tmp_path):
    """Return a file of several parts."""
    (tmp_path / "large").mkdir()
    path = tmp_path / "large" / "large.bin"
    path.write_bytes(Random(4).randbytes(70 * MIB))
    return path


@pytest.mark.parametrize("kept_in", ["catalog", "state of the task"])
def test_a_task_that_is_killed_stops_at_once_and_the_next_attempt_sends_only_what_is_missing(
    request, monkeypatch, run_dag, large, tmp_path, returned, events, kept_in
):
    monkeypatch.setenv("AIRFLOW_VAR_LIMITS", '{"bytes_per_second": "4GB"}')
    if kept_in == "catalog":
        request.getfixturevalue("connected_store")
    with DAG("transfers", schedule=None) as dag:
        KilledOnce(
            task_id="transfer",
            source=str(large.parent),
            target=str(tmp_path / "to"),
            transfer_options={"parts_at_once": "{{ 1 + 1 }}"},
            limits_variable="LIMITS",
        )
    run = run_dag(dag, logical_date=None)
    assert run.state == "success"
    report = returned(run, "transfer")
    assert report["bytes_sent"] + report["bytes_resumed"] == 70 * MIB
    assert report["bytes_resumed"] >= 16 * MIB
    assert (tmp_path / "to" / "large.bin").read_bytes() == large.read_bytes()
    seen = run.get_task_instance("transfer").xcom_pull(task_ids="transfer", key="seen")
    assert seen["killed"] == "the transfer was stopped; the next attempt goes on where it was"
    assert seen["limits"] == "bytes per second: 4,000,000,000; parts at once: 2"
    assert (seen["state"] == "None") == (kept_in == "catalog")
    assert seen["after"] == "None"
    ((_, extra),) = events(run)
    assert extra["bytes_resumed"] == report["bytes_resumed"]


@pytest.mark.parametrize(
    ("options", "slots", "parts"), [({}, 1, 16), ({}, 3, 3), ({"parts_at_once": 5}, 3, 5)], ids=str
)
def test_parts_at_once_follow_the_slots_of_the_pool_unless_the_options_say_more(options, slots, parts):
    context = {"task": TransferOperator(task_id="x", source="/a", target="/b", pool_slots=slots)}
    assert task_control(context, TransferOptions(**options), None).at_once(16) == parts


@pytest.mark.parametrize("text", ["no JSON", '{"part_at_once": 1}', "[]"])
def test_nonsense_in_the_variable_of_limits_keeps_those_of_before(run_dag, monkeypatch, text):
    monkeypatch.setenv("AIRFLOW_VAR_LIMITS", text)
    context = {"task": TransferOperator(task_id="x", source="/a", target="/b")}
    assert task_control(context, TransferOptions(parts_at_once=4), "LIMITS").at_once(16) == 4


def test_a_mirror_in_a_dry_run_announces_nothing_and_an_option_that_is_none_fails_at_once(
    connected_store, transfer, landing, tmp_path, events, returned, capfd
):
    options = {"source": str(landing), "target": str(tmp_path / "to")}
    run = transfer(**options, transfer_options={"mirror": True, "dry_run": True})
    assert (run.state, events(run), (tmp_path / "to").exists()) == ("success", [], False)
    assert returned(run, "transfer")["bytes_sent"] > 0
    assert transfer(**options, transfer_options={"miror": True}).state == "failed"
    assert "transfer has no parameter 'miror'; did you mean 'mirror'?" in capfd.readouterr().out


def test_several_urls_are_copied_below_one(connected_store, transfer, landing, tmp_path):
    (tmp_path / "other.csv").write_text("x\n")
    sources = [str(landing), str(tmp_path / "other.csv")]
    assert transfer(source=sources, target=str(tmp_path / "to")).state == "success"
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["monday.csv", "other.csv"]


@pytest.mark.s3
def test_a_version_in_an_archive_is_asked_for_waited_for_and_transferred(archive, transfer, tmp_path, returned):
    run = transfer(source="support/dialogs@latest", target=str(tmp_path / "public"), poke_interval=0.05)
    assert run.state == "success"
    assert returned(run, "transfer")["files"] == 3
    folder = tmp_path / "public" / archive.manifest.dataset / archive.manifest.version
    assert (folder / "data" / "0.bin").read_bytes() == b"zero"


@pytest.mark.s3
def test_files_in_an_archive_are_asked_for_waited_for_and_transferred(archive, transfer, tmp_path, returned):
    url = archive.folder.url.replace("s3://", "s3://aws_default@")
    run = transfer(source=f"{url}/data", target=str(tmp_path / "copy"), poke_interval=0.05)
    assert (run.state, returned(run, "transfer")["files"]) == ("success", 3)
    assert (tmp_path / "copy" / "0.bin").read_bytes() == b"zero"


@pytest.mark.s3
def test_the_triggerer_waits_for_files_only_as_long_as_somebody_has_asked_for_them(archive):
    url = archive.folder.url.replace("s3://", "s3://aws_default@")
    trigger = FileRestoreTrigger(sources=[f"{url}/data"], poke_interval=0.01)
    path, options = trigger.serialize()
    assert (path, options) == (
        "airflow_dataflow.triggers.storage.FileRestoreTrigger",
        {"sources": [f"{url}/data"], "poke_interval": 0.01},
    )
    event = asyncio.run(anext(FileRestoreTrigger(**options).run()))
    assert "is archived and nobody has asked for it" in event.payload["error"]


@pytest.mark.s3
def test_a_version_in_an_archive_that_nobody_waits_for_fails_at_once(archive, transfer, tmp_path, capfd):
    run = transfer(source="support/dialogs@latest", target=str(tmp_path / "public"), wait_for_restore=False)
    assert run.state == "failed"
    assert "ArchivedError, not retried" in capfd.readouterr().out


def test_a_restore_that_failed_fails_the_task(tmp_path):
    task = TransferOperator(task_id="x", source="a@latest", target=str(tmp_path))
    with pytest.raises(AirflowFailException, match="nobody has asked"):
        task.execute_restored({}, {"error": "nobody has asked for it"})
