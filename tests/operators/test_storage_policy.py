"""The operator that sets storage policies and classes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Param

from airflow_dataflow.hooks.storage import directory
from airflow_dataflow.operators.storage import SetStoragePolicyOperator
from airflow_dataflow.testing.contents import write
from airflow_dataflow.testing.versions import make_version
from tests.storage.hdfs.clusters import block_types, connection_to, folder_on

pytestmark = pytest.mark.airflow

NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


@pytest.fixture
def set_policy(run_dag, returned):
    """Return a function that runs a DAG with one operator, and returns its state and what it returned."""

    def run(**options):
        with DAG("policies", schedule=None, params={"policy": Param("COLD")}) as dag:
            SetStoragePolicyOperator(task_id="set", retries=9, retry_delay=timedelta(0), **options)
        run = run_dag(dag, logical_date=None)
        return run.state, returned(run, "set")

    return run


@pytest.mark.hdfs
def test_a_folder_on_hdfs_goes_cold(set_policy, hdfs_cluster, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WEBHDFS_DEFAULT", connection_to(hdfs_cluster))
    folder = folder_on(hdfs_cluster, "hdfs")
    for path in ("a", "b/c"):
        write(folder, path, b"x" * 1000)
    url = f"hdfs://{folder.root}"
    for changed in (2, 0):
        state, report = set_policy(target=url, policy="{{ params.policy }}")
        assert state == "success"
        assert (report["policy"], report["files_changed"], report["moving"]) == ("COLD", changed, True)
        assert report["url"].endswith(folder.root)
    hdfs_cluster.move(folder.root)
    assert {*block_types(folder, "a"), *block_types(folder, "b/c")} == {"ARCHIVE"}
    state, report = set_policy(target=url, policy="HOT", satisfy=False)
    assert (state, report["files_changed"], report["moving"]) == ("success", 2, False)


@pytest.mark.s3
def test_a_folder_on_s3_gets_a_storage_class(set_policy, bucket):
    folder = directory(f"s3://{bucket}/raw")
    write(folder, "a", b"x")
    state, report = set_policy(target=f"s3://aws_default@{bucket}/raw", policy="STANDARD_IA")
    assert (state, report["files_changed"], report["moving"]) == ("success", 1, True)
    assert folder.backend.storage_class(folder.path("a")) == "STANDARD_IA"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "support/dialogs@latest", "policy": "COLD"}, "has no storage classes"),
        ({"target": "support/none@latest", "policy": "COLD"}, "support/none"),
        ({"target": "support/dialogs@latest", "policy": "COLD", "tier": "warn"}, "did you mean 'warm'"),
    ],
)
def test_what_cannot_work_is_not_tried_again(connected_store, run_dag, options, message, capsys):
    make_version(connected_store, NIGHT, "4f2a9c")
    with DAG("policies", schedule=None) as dag:
        SetStoragePolicyOperator(task_id="set", retries=9, retry_delay=timedelta(0), **options)
    run = run_dag(dag, logical_date=None)
    assert run.get_task_instance("set").try_number == 1
    assert run.state == "failed"
    assert message in capsys.readouterr().out
