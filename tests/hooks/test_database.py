"""Databases through Airflow's connections: what is taken from them, what is refused, and what never shows."""

from __future__ import annotations

import json
import logging

import pytest
import sqlalchemy as sa

from airflow_dataflow.errors import InvalidInputError, UnsupportedError
from airflow_dataflow.hooks.database import database_uri, database_url, is_database, split_table

pytestmark = pytest.mark.airflow
SECRET = "s3cr3t/w@rd"


@pytest.fixture
def connect(monkeypatch):
    """Return a function that defines the connection ``shop``."""

    def define(conn_type="postgres", extra=None, **fields):
        connection = {"conn_type": conn_type, "login": "app", "password": SECRET, "host": "db", "schema": "shop"}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection | fields | {"extra": extra}))

    return define


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://shop@/public.orders", ("postgresql", "shop", "public.orders")),
        ("postgres://shop@/orders", ("postgresql", "shop", "orders")),
        ("mysql:///orders", ("mysql", "mysql_default", "orders")),
        ("mariadb://shop@/", ("mysql", "shop", None)),
        ("postgresql://shop@", ("postgresql", "shop", None)),
        ("postgresql://shop@/we%20ird%2Fname", ("postgresql", "shop", "we ird/name")),
    ],
)
def test_a_url_names_a_connection_and_a_table(url, parts):
    assert is_database(url)
    assert split_table(url) == parts
    assert split_table(url, "other")[1] == "other"


@pytest.mark.parametrize("url", ["s3://bucket/key", "/data/postgresql", "file:///data", "support/clean@latest"])
def test_other_urls_are_no_databases(url):
    assert not is_database(url)


@pytest.mark.parametrize(
    "url", ["postgresql://host/orders", f"postgresql://app:{SECRET[:5]}@db/orders", "mysql://shop@/t?ssl=true"]
)
def test_hosts_and_passwords_do_not_belong_into_a_url(url):
    with pytest.raises(InvalidInputError, match="belong into the Airflow connection") as raised:
        split_table(url)
    assert SECRET[:5] not in str(raised.value)


def test_a_connection_becomes_a_url_with_its_options(connect):
    connect(port=5433, extra={"sslmode": "require", "connect_timeout": 5, "sslcert": ""})
    url = database_url("postgresql", "shop")
    assert (url.drivername, url.username, url.password, url.host, url.port, url.database) == (
        "postgresql", "app", SECRET, "db", 5433, "shop"
    )  # fmt: skip
    assert dict(url.query) == {"sslmode": "require", "connect_timeout": "5"}
    assert SECRET not in repr(url)


@pytest.mark.parametrize(
    ("extra", "query"),
    [
        ({}, {}),
        ({"sslrootcert": "/ca.pem"}, {"sslrootcert": "/ca.pem", "sslmode": "verify-full"}),
        ({"sslrootcert": "/ca.pem", "sslmode": "verify-ca"}, {"sslrootcert": "/ca.pem", "sslmode": "verify-ca"}),
    ],
)
def test_tls_files_of_postgresql_mean_that_the_server_is_verified(connect, extra, query):
    connect(extra=extra)
    assert dict(database_url("postgresql", "shop").query) == query


@pytest.mark.parametrize(
    ("extra", "query"),
    [
        ({"ssl": {"ca": "/ca.pem"}}, {"ssl": "true", "ssl_ca": "/ca.pem"}),
        ({"ssl": '{"ca": "/ca.pem", "check_hostname": false}'},
         {"ssl": "true", "ssl_ca": "/ca.pem", "ssl_check_hostname": "False"}),
        ({"ssl": True}, {"ssl": "True"}),
        ({"ssl_mode": "REQUIRED", "unix_socket": "/run/my"}, {"ssl_mode": "REQUIRED", "unix_socket": "/run/my"}),
    ],
)  # fmt: skip
def test_tls_options_of_mysql_pass_through(connect, extra, query):
    connect("mysql", extra=extra)
    assert dict(database_url("mysql", "shop").query) == query


@pytest.mark.parametrize(
    ("kind", "extra", "error", "message"),
    [
        ("postgres", {"sslmod": "require"}, InvalidInputError, "unknown extra 'sslmod'; did you mean 'sslmode'"),
        ("mysql", {"ssl": {"caa": "/ca.pem"}}, InvalidInputError, "unknown name 'caa' in its extra 'ssl'"),
        ("postgres", {"iam": True}, UnsupportedError, "IAM"),
        ("mysql", [1], InvalidInputError, "not a JSON object"),
        ("http", {}, InvalidInputError, "has type 'http'"),
    ],
)
def test_what_a_connection_cannot_say_is_explained(connect, kind, extra, error, message):
    connect(kind, extra=json.dumps(extra))
    with pytest.raises(error, match=message) as raised:
        database_url("mysql" if kind == "mysql" else "postgresql", "shop")
    assert SECRET not in str(raised.value)


def test_extras_of_other_hooks_are_left_out_with_a_word(connect, caplog):
    connect(extra={"cursor": "dictcursor"})
    with caplog.at_level(logging.WARNING):
        assert dict(database_url("postgresql", "shop").query) == {}
    assert "'cursor' is not used" in caplog.text


def test_a_connection_that_is_not_defined_is_named():
    with pytest.raises(InvalidInputError, match="connection 'nowhere' is not defined; add one of type 'postgres'"):
        database_url("postgresql", "nowhere")


@pytest.mark.parametrize(
    ("url", "table", "uri"),
    [
        ("postgresql://app:x@db/shop", "orders", "postgresql://db:5432/shop/public/orders"),
        ("postgresql://db:5433/shop", "sales.or ders", "postgresql://db:5433/shop/sales/or%20ders"),
        ("mysql://app:x@db/shop", "orders", "mysql://db:3306/shop/orders"),
        ("mysql://db/shop", None, "mysql://db:3306/shop"),
    ],
)
def test_a_uri_names_a_table_without_credentials(url, table, uri):
    assert database_uri(sa.make_url(url), table) == uri
