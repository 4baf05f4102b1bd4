"""Aliyun OSS behind Airflow's paths."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_dataflow.errors import InvalidInputError, MissingPackageError
from airflow_dataflow.filesystems.oss import get_fs
from airflow_dataflow.hooks.storage import directory

KEYS = {"auth_type": "AK", "access_key_id": "tests-key", "access_key_secret": "tests-secret"}


def connect(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], **fields: str) -> None:
    """Define the connection."""
    connection = {"conn_type": "oss", "extra": extra, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_OSS_DEFAULT", json.dumps(connection))


@pytest.mark.oss
@pytest.mark.parametrize("url", ["oss://{bucket}/tier", "oss://oss_default@{bucket}/tier"])
def test_a_folder_is_opened_with_the_connection_of_the_alibaba_provider(
    oss_bucket: str, oss_url: str, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    connect(monkeypatch, {**KEYS, "endpoint": oss_url})
    folder = directory(url.format(bucket=oss_bucket))
    with folder.create("a/x") as writer:
        writer.write(b"content")
    assert folder.read("a/x") == b"content"


@pytest.mark.oss
@pytest.mark.airflow
# The library under Airflow's paths tells that it has no class of its own for OSS, and takes its general one.
@pytest.mark.filterwarnings("ignore:UPath 'oss' filesystem not explicitly implemented:UserWarning")
def test_a_path_of_airflow_reads_and_writes_in_a_dag(
    oss_bucket: str, oss_url: str, monkeypatch: pytest.MonkeyPatch, run_dag: Any
) -> None:
    connect(monkeypatch, {**KEYS, "endpoint": oss_url})
    with DAG("paths_on_oss", start_date=datetime(2026, 11, 1, tzinfo=UTC), schedule=None) as dag:

        @task
        def write_and_read() -> str:
            path = ObjectStoragePath(f"oss://oss_default@{oss_bucket}/folder/greeting.txt")
            path.write_text("hello")
            assert [found.name for found in path.parent.iterdir()] == ["greeting.txt"]
            return path.read_text()

        write_and_read()
    run = run_dag(dag)
    assert run.state == "success"
    instance = run.get_task_instance("write_and_read")
    assert instance.xcom_pull(task_ids="write_and_read") == "hello"


@pytest.mark.parametrize(
    ("extra", "endpoint"),
    [
        ({"region": "cn-hangzhou"}, "https://oss-cn-hangzhou.aliyuncs.com"),
        ({"endpoint": "oss-cn-beijing-internal.aliyuncs.com"}, "https://oss-cn-beijing-internal.aliyuncs.com"),
        ({"endpoint": "http://127.0.0.1:1", "region": "cn-hangzhou"}, "http://127.0.0.1:1"),
    ],
)
def test_the_place_is_a_region_or_an_endpoint_and_never_in_the_clear_by_accident(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], endpoint: str
) -> None:
    connect(monkeypatch, {**KEYS, **extra})
    assert get_fs(None).storage_options["endpoint"] == endpoint


def test_login_and_password_may_be_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, {"region": "cn-hangzhou"}, login="key", password="secret")
    options = get_fs("oss_default").storage_options
    assert (options["key"], options["secret"]) == ("key", "secret")


@pytest.mark.parametrize(
    ("extra", "message"),
    [({"region": "cn-hangzhou"}, "'oss_default' has no access key"), (KEYS, "'oss_default' has no region or endpoint")],
)
def test_a_connection_that_lacks_something_is_named(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], message: str
) -> None:
    connect(monkeypatch, extra)
    with pytest.raises(InvalidInputError, match=f"{message}; its extras have to look like") as caught:
        get_fs(None)
    assert "tests-secret" not in str(caught.value)


@pytest.mark.airflow
def test_a_connection_that_is_not_defined_is_named() -> None:
    with pytest.raises(InvalidInputError, match="connection 'nowhere' is not defined; add one of type 'oss'"):
        get_fs("nowhere")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow_dataflow.storage.backends._oss_files", None)
    with pytest.raises(MissingPackageError, match=r"oss:// needs 'pip install airflow-dataflow\[oss\]'"):
        get_fs(None)
