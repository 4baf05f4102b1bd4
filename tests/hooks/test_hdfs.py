"""Connections of type ``webhdfs``."""

from __future__ import annotations

import json

import pytest

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.hooks.hdfs import connection_options, url_options


@pytest.fixture
def connect(monkeypatch):
    """Return a function that defines the connection ``warehouse``, or another one."""

    def define(conn_id="warehouse", **fields):
        connection = {"conn_type": "webhdfs", "host": "nn1,nn2", "port": 9870, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    return define


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"namenodes": ["http://nn1:9870", "http://nn2:9870"], "kerberos": False, "verify": True}),
        ({"port": None}, {"namenodes": ["http://nn1:9870", "http://nn2:9870"]}),
        ({"host": "nn1; nn2:50070", "port": None}, {"namenodes": ["http://nn1:9870", "http://nn2:50070"]}),
        ({"host": "::1"}, {"namenodes": ["http://[::1]:9870"]}),
        ({"schema": "gateway/site"}, {"namenodes": [f"http://nn{n}:9870/gateway/site" for n in (1, 2)]}),
        ({"login": "etl", "password": "secret"}, {"user": "etl", "password": "secret"}),
        ({"extra": {"use_ssl": True}}, {"namenodes": ["https://nn1:9870", "https://nn2:9870"], "verify": True}),
        ({"extra": {"use_ssl": "True"}, "port": None}, {"namenodes": ["https://nn1:9871", "https://nn2:9871"]}),
        ({"extra": {"use_ssl": "false"}}, {"namenodes": ["http://nn1:9870", "http://nn2:9870"]}),
        ({"extra": {"verify": False}}, {"verify": False}),
        ({"extra": {"verify": "false"}}, {"verify": False}),
        ({"extra": {"verify": "/etc/ca.pem"}}, {"verify": "/etc/ca.pem"}),
        ({"extra": {"cert": "/c.pem", "key": "/k.pem"}}, {"cert": "/c.pem", "key": "/k.pem"}),
        ({"extra": {"rpc": "nn1:8020, nn2:8020"}}, {"rpc": ["nn1:8020", "nn2:8020"]}),
        ({"extra": {"rpc": ["nn1:8020"]}}, {"rpc": ["nn1:8020"]}),
        ({"extra": {"rpc": ""}}, {"rpc": []}),
        ({"extra": {"kerberos": True, "nameservice": "big"}}, {"kerberos": True, "nameservice": "big"}),
        ({"extra": {"patience_seconds": 5}}, {"patience_seconds": 5.0}),
    ],
)
def test_a_connection_says_what_opens_the_file_system(connect, fields, expected):
    connect(**fields)
    options = connection_options("warehouse")
    assert {name: options.get(name) for name in expected} == expected


def test_certificates_are_verified_by_the_client_too(connect):
    from airflow_dataflow.filesystems.hdfs import get_fs

    connect(host="nn1", extra={"use_ssl": True, "rpc": ""})
    session = get_fs("warehouse").web._client._session
    assert session.verify is True
    connect(host="nn2", extra={"use_ssl": True, "rpc": "", "verify": False})
    assert get_fs("warehouse").web._client._session.verify is False


def test_kerberos_is_that_of_airflow_as_for_the_official_hook(connect, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW__CORE__SECURITY", "kerberos")
    assert connection_options("warehouse")["kerberos"] is True


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conn_type": "aws"}, "'warehouse' has type 'aws', not 'webhdfs'"),
        ({"host": ""}, "'warehouse' has no host"),
    ],
)
def test_a_connection_that_is_no_good_is_named(connect, fields, message):
    connect(**fields)
    with pytest.raises(InvalidInputError, match=message):
        connection_options("warehouse")


def test_a_connection_that_nobody_defined_is_named():
    with pytest.raises(InvalidInputError, match="connection 'warehouse' is not defined; add one of type 'webhdfs'"):
        connection_options("warehouse")
    assert connection_options(None) == {}


@pytest.mark.parametrize(
    ("url", "conn_id", "host"),
    [
        ("hdfs:///data", None, "nn1"),
        ("hdfs://nn2/data", None, "nn1"),
        ("hdfs://nn2:8020/data", None, "nn1"),
        ("hdfs://elsewhere:8020/data", None, None),
        ("hdfs:///data", "warehouse", "other"),
    ],
)
def test_the_default_connection_counts_for_its_own_cluster(connect, url, conn_id, host):
    connect("webhdfs_default")
    connect("warehouse", host="other")
    options = url_options(url, conn_id)
    assert (options["namenodes"][0] if options else None) == (host and f"http://{host}:9870")


def test_secrets_are_masked_and_not_in_messages(connect, monkeypatch):
    masked = []
    monkeypatch.setattr("airflow_dataflow.hooks.hdfs.mask_secret", masked.append)
    connect(password="sesame", extra={"headers": {"X-Token": "token"}, "cookies": {"auth": "crumb"}})
    options = connection_options("warehouse")
    assert masked == ["sesame", "token", "crumb"]
    from airflow_dataflow.storage.hdfs.options import HdfsConnection

    assert not any(secret in repr(HdfsConnection.make(options)) for secret in masked)
