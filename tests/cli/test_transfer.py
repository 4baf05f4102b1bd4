"""``dataflow transfer`` between tiers, to a place outside the store, and between paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows
from airflow_dataflow.storage.store import Store
from tests.services.tables import Tables

Dataflow = Callable[..., Any]


def test_a_reference_and_the_name_of_a_tier_copy_the_version_there(
    dataflow: Dataflow, store: Store, store_file: Path, version: Manifest
) -> None:
    outcome = dataflow("transfer", "support/raw@latest", "cold", "--store", store_file, "--format", "json")
    assert outcome.code == 0, outcome.error
    assert set(outcome.json) == {"bytes_sent", "bytes_resumed", "bytes_skipped", "files", "parts_retried", "seconds"}
    assert outcome.json["bytes_sent"] == 7
    assert [replica.location for replica in store.catalog.replicas("support/raw", version.version)] == ["cold", "hot"]


def test_a_reference_and_a_path_publish_the_version(
    dataflow: Dataflow, store: Store, store_file: Path, version: Manifest, tmp_path: Path
) -> None:
    outcome = dataflow("transfer", "support/raw@latest", tmp_path / "public", "--store", store_file)
    assert outcome.code == 0, outcome.error
    assert (tmp_path / "public" / "support" / "raw" / version.version / MANIFEST_NAME).exists()
    assert store.catalog.published("support/raw") == version


def test_paths_copy_files_without_any_store(dataflow: Dataflow, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.csv").write_text("a\n1\n")
    for skipped in (0, 4):
        outcome = dataflow("transfer", tmp_path / "from", tmp_path / "to", "--format", "json")
        assert outcome.json["bytes_skipped"] == skipped
    assert (tmp_path / "to" / "a.csv").read_text() == "a\n1\n"


@pytest.mark.parametrize("source", ["nowhere/*.csv", "nowhere"])
def test_a_source_that_is_not_there_is_bad_input(dataflow: Dataflow, tmp_path: Path, source: str) -> None:
    outcome = dataflow("transfer", tmp_path / source, tmp_path / "to")
    assert outcome.code == 2
    assert "nowhere" in outcome.error
    assert not (tmp_path / "to").exists()


@pytest.mark.airflow
def test_a_reference_and_a_table_load_the_version(
    dataflow: Dataflow, store: Store, store_file: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.draft("shop/orders", at=datetime(2026, 11, 23, tzinfo=UTC), fingerprint="4f2a9c") as draft:
        with draft.create("data/0.parquet") as file:
            pq.write_table(pa.table({"id": [1, 2]}), file)
        draft.commit(Rows(rows_in=2, rows_out=2))
    url = sa.make_url(tables.url)
    kind = "postgres" if tables.is_postgres else "mysql"
    connection = {"conn_type": kind, "login": url.username, "password": url.password, "host": url.host}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection | {"port": url.port, "schema": url.database}))
    target = f"{url.get_backend_name()}://shop@/orders"
    upsert = ("--mode", "upsert", "--key", "id")
    for options in ((), ("--mode", "append"), ("--key", "id"), upsert, ("--mode", "append")):
        if options == upsert:
            tables.run("ALTER TABLE orders ADD PRIMARY KEY (id)")
        outcome = dataflow("transfer", "shop/orders@latest", target, *options, "--store", store_file)
        assert outcome.code == 0, outcome.error
        assert sorted(tables.run("SELECT id FROM orders")) == [(1,), (2,)]
    outcome = dataflow("transfer", "shop/orders@latest", f"{target}?x=1", "--store", store_file)
    assert (outcome.code, "belong into the Airflow connection" in outcome.error) == (2, True)
