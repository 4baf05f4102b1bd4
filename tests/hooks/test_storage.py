"""Storage through Airflow's connections."""

from __future__ import annotations

import pytest

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.hooks.storage import directory, split_conn_id, storage_options, uri


@pytest.mark.parametrize(
    ("url", "conn_id", "expected"),
    [
        ("s3://bucket/key", None, ("s3://bucket/key", None)),
        ("s3://bucket/key", "mine", ("s3://bucket/key", "mine")),
        ("s3://theirs@bucket/key", None, ("s3://bucket/key", "theirs")),
        ("s3://theirs@bucket/key", "mine", ("s3://bucket/key", "mine")),
        ("s3://theirs@bucket/key", "", ("s3://bucket/key", "theirs")),
        ("s3://bucket/a@b?c#d", None, ("s3://bucket/a@b?c#d", None)),
        ("s3://conn@bucket/day=[0-9]*/*.csv", None, ("s3://bucket/day=[0-9]*/*.csv", "conn")),
        ("hdfs://conn@/reports/a b", None, ("hdfs:///reports/a b", "conn")),
        ("hdfs://conn@", None, ("hdfs://", "conn")),
        ("webhdfs://conn@nn1:9870/x@y", None, ("webhdfs://nn1:9870/x@y", "conn")),
        ("s3://conn@bucket/a?", None, ("s3://bucket/a?", "conn")),
        ("s3://conn@bucket/a#", None, ("s3://bucket/a#", "conn")),
        ("s3://conn@bucket/a\tb\nc", None, ("s3://bucket/a\tb\nc", "conn")),
        ("s3://conn@bucket//a//b/", None, ("s3://bucket//a//b/", "conn")),
        ("/data/a@b", "", ("/data/a@b", None)),
        ("file:///data/landing", None, ("file:///data/landing", None)),
    ],
)
def test_a_url_may_name_the_connection_that_opens_it(url, conn_id, expected):
    assert split_conn_id(url, conn_id) == expected


def test_local_folders_need_no_options(tmp_path):
    assert storage_options(str(tmp_path)) == storage_options(tmp_path.as_uri()) == {}
    assert directory(tmp_path.as_uri()).root == str(tmp_path)


def test_a_scheme_that_no_provider_opens_is_named():
    with pytest.raises(InvalidInputError, match=r"no installed Airflow provider opens gopher:// .*install"):
        storage_options("gopher://host/folder")


@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_the_provider_that_is_missing_for_google_cloud_storage_is_named(scheme, monkeypatch):
    monkeypatch.setattr("airflow.sdk.io.has_fs", lambda _scheme: False)
    with pytest.raises(InvalidInputError, match="install apache-airflow-providers-google, or use"):
        storage_options(f"{scheme}://bucket/folder")


def test_the_uri_of_an_asset_has_no_connection_in_it(tmp_path):
    assert uri("s3://aws_default@bucket/published") == "s3://bucket/published"
    assert uri(str(tmp_path)) == tmp_path.as_uri()


@pytest.mark.parametrize(
    ("url", "conn_id", "expected"),
    [
        ("hdfs://warehouse@/a b", None, "hdfs://big/a b"),
        ("hdfs:///a", "warehouse", "hdfs://big/a"),
        ("hdfs://warehouse@big/a", None, "hdfs://big/a"),
        ("webhdfs://plain@/a", None, "webhdfs://nn1:9870/a"),
        ("hdfs://plain@/a", None, "hdfs://nn1/a"),
    ],
)
def test_the_uri_of_an_asset_on_hdfs_names_the_cluster_of_its_connection(url, conn_id, expected, monkeypatch):
    connection = '{"conn_type": "webhdfs", "host": "nn1", "port": 9870, "extra": {%s}}'
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection % '"nameservice": "big"')
    monkeypatch.setenv("AIRFLOW_CONN_PLAIN", connection % "")
    assert uri(url, conn_id) == expected


@pytest.mark.s3
@pytest.mark.parametrize("conn_id", [None, "aws_default"])
def test_a_folder_on_s3_is_opened_with_the_credentials_of_an_aws_connection(bucket, conn_id):
    folder = directory(f"s3://{bucket}/landing", conn_id)
    with folder.create("a.csv") as file:
        file.write(b"id\n1\n")
    assert folder.files() == {"a.csv": 5}
    assert directory(f"s3://aws_default@{bucket}/landing").read("a.csv") == b"id\n1\n"
