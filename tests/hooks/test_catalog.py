"""The catalog's database in a connection of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.hooks.catalog import catalog_url
from airflow_dataflow.hooks.dataflow import DataflowHook
from tests.services.sql import SERVERS


def _define(monkeypatch: pytest.MonkeyPatch, name: str, **connection: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def _define_by_url(monkeypatch: pytest.MonkeyPatch, url: str, **changes: Any) -> None:
    parts = sa.make_url(url)
    described = {
        "conn_type": "postgres" if parts.get_backend_name() == "postgresql" else "mysql",
        "login": parts.username,
        "password": parts.password,
        "host": parts.host,
        "port": parts.port,
        "schema": parts.database,
    }
    _define(monkeypatch, "catalog", **(described | changes))


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_a_store_keeps_its_catalog_where_another_connection_says(
    server_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _define_by_url(monkeypatch, server_url)
    extra = {"catalog_conn_id": "catalog", "tiers": [{"name": "hot", "class": "hot", "url": str(tmp_path)}]}
    _define(monkeypatch, "store", conn_type="dataflow", extra=extra)
    hook = DataflowHook("store")
    assert hook.store.catalog.datasets() == []
    assert hook.test_connection()[0]
    _define_by_url(monkeypatch, server_url, password="hunter2")
    works, message = DataflowHook("store").test_connection()
    assert not works
    assert "check user and password" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        (
            {"conn_type": "postgres", "host": "db", "schema": "catalog", "login": "me", "password": "a/b@c"},
            "postgresql+psycopg://me:a%2Fb%40c@db/catalog",
        ),
        (
            {"conn_type": "postgres", "host": "db", "schema": "x", "extra": {"sslmode": "verify-full", "cursor": "c"}},
            "postgresql+psycopg://db/x?sslmode=verify-full",
        ),
        (
            {"conn_type": "mysql", "host": "db", "port": 3307, "schema": "x", "extra": {"ssl": {"ca": "/ca.pem"}}},
            "mysql+pymysql://db:3307/x?ssl_ca=%2Fca.pem",
        ),
        ({"conn_type": "sqlite", "host": "/data/catalog.db"}, "sqlite:////data/catalog.db"),
    ],
)
def test_a_connection_becomes_a_url(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], url: str) -> None:
    _define(monkeypatch, "catalog", **connection)
    assert catalog_url("catalog") == sa.make_url(url)


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ({"conn_type": "aws"}, "of type 'aws'; a catalog lies on mysql, postgres, sqlite"),
        ({"conn_type": "postgres", "host": "db"}, "names no database in its schema"),
        ({"conn_type": "mysql", "host": "db", "schema": "x", "extra": {"ssl": "on"}}, "extra 'ssl' that is no object"),
    ],
)
def test_a_connection_that_holds_no_catalog_is_explained(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], message: str
) -> None:
    _define(monkeypatch, "catalog", **connection)
    with pytest.raises(InvalidInputError, match=message):
        catalog_url("catalog")


def test_a_connection_that_is_not_defined_is_named() -> None:
    with pytest.raises(InvalidInputError, match="names connection 'nowhere', which is not defined"):
        catalog_url("nowhere")
