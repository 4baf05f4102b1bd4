"""Operators that copy data to where others use it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Asset

from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.hooks.storage import directory
from airflow_dataflow.operators.transfer import TransferOperator
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
    published = Asset(name="copies", uri=(tmp_path / "copies").as_uri())
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
