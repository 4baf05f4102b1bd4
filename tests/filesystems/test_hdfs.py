"""``ObjectStoragePath`` on HDFS, in DAGs with a connection of type ``webhdfs``."""

from __future__ import annotations

import logging

import pytest
from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_dataflow.storage.hdfs.native import NativeHdfs
from airflow_dataflow.storage.hdfs.webhdfs import WebHdfs
from tests.storage.hdfs.clusters import connection_to, folder_on

pytestmark = [pytest.mark.airflow, pytest.mark.hdfs]


@pytest.fixture
def root(hdfs_cluster, monkeypatch):
    """Return a folder on the cluster that the connection ``cluster`` opens, and no path opened before knows of."""
    from airflow.sdk.io import store

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", connection_to(hdfs_cluster))
    return folder_on(hdfs_cluster, "hdfs")


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_a_dag_writes_and_reads(run_dag, root, scheme, host):
    base = f"{scheme}://cluster@{host}{root.root}"

    with DAG("paths", schedule=None) as dag:

        @task
        def write() -> str:
            path = ObjectStoragePath(base) / "day=1" / "a b#c.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("äöü")
            with path.with_name("data.bin").open("wb") as file:
                file.write(bytes(range(256)) * 40_000)
            return str(path)

        @task
        def read(told: str) -> dict[str, object]:
            path = ObjectStoragePath(told, conn_id="cluster")
            folder = path.parent
            return {
                "text": path.read_text(),
                "names": sorted(child.name for child in folder.iterdir()),
                "bytes": path.with_name("data.bin").stat().st_size,
                "there": [path.exists(), (folder / "none").exists(), folder.is_dir(), path.is_file()],
            }

        read(write())
    run = run_dag(dag, logical_date=None)
    assert run.state == "success"
    assert run.get_task_instance("read").xcom_pull(task_ids="read") == {
        "text": "äöü",
        "names": ["a b#c.txt", "data.bin"],
        "bytes": 10_240_000,
        "there": [True, False, True, True],
    }
    assert root.files() == {"day=1/a b#c.txt": 6, "day=1/data.bin": 10_240_000}


def test_hdfs_takes_hadoops_own_protocol_where_the_namenode_says_it_listens(root):
    assert isinstance(ObjectStoragePath("hdfs://cluster@/x").fs.client, NativeHdfs)
    assert isinstance(ObjectStoragePath("webhdfs://cluster@/x").fs.client, WebHdfs)


def test_hdfs_takes_webhdfs_where_hadoops_own_protocol_is_out_of_reach(root, monkeypatch, caplog):
    monkeypatch.setattr("airflow_dataflow.storage.hdfs.filesystem._listens", lambda address: False)
    caplog.set_level(logging.INFO)
    fs = ObjectStoragePath("hdfs://cluster@/x").fs
    fs.__dict__["_client"] = None
    assert isinstance(fs.client, WebHdfs)
    assert "data goes through WebHDFS" in caplog.text


def test_paths_are_renamed_removed_and_copied(root):
    folder = ObjectStoragePath(f"hdfs://cluster@{root.root}")
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "x.txt").write_text("one")
    (folder / "a" / "x.txt").copy(folder / "b" / "y.txt")
    (folder / "a" / "x.txt").rename(folder / "a" / "z.txt")
    assert root.files() == {"a/z.txt": 3, "b/y.txt": 3}
    (folder / "a" / "z.txt").unlink()
    (folder / "a").rmdir()
    assert root.files() == {"b/y.txt": 3}
    with pytest.raises(FileNotFoundError):
        (folder / "a" / "z.txt").read_text()
    assert folder.checksum() != 0
