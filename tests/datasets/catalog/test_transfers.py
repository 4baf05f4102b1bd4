"""Rows about transfers that are under way, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.rows import now
from airflow_dataflow.datasets.catalog.tables import transfer_records
from airflow_dataflow.datasets.catalog.transfers import TransferRows

ID, TARGET = "4f2a9c", "s3://bucket/to"


@pytest.fixture
def catalog(catalog_url: str) -> Catalog:
    return Catalog(catalog_url)


@pytest.fixture
def rows(catalog: Catalog) -> TransferRows:
    return TransferRows(catalog.database)


def records(catalog: Catalog) -> int:
    count = sa.select(sa.func.count()).select_from(transfer_records)
    with catalog.engine.connect() as connection:
        return int(connection.execute(count).scalar_one())


def test_of_many_that_claim_a_transfer_at_once_one_gets_it(rows: TransferRows) -> None:
    for seen in (None, rows.find(ID)):
        with ThreadPoolExecutor(6) as pool:
            got = list(pool.map(lambda n, seen=seen: rows.claim(ID, TARGET, f"owner-{n}", seen=seen), range(6)))
        assert sum(got) == 1
        found = rows.find(ID)
        assert found is not None
        assert (found.owner, found.target) == (f"owner-{got.index(True)}", TARGET)
        rows.let_go(ID, str(found.owner), keep=False)


def test_only_the_owner_of_the_moment_writes_and_lets_go(rows: TransferRows) -> None:
    assert rows.claim(ID, TARGET, "one", seen=None)
    assert rows.append(ID, "one", ["1"])
    assert rows.claim(ID, TARGET, "two", seen=rows.find(ID))
    assert not rows.append(ID, "one", ["x"])
    assert not rows.touch(ID, "one")
    rows.let_go(ID, "one", keep=False)
    assert rows.touch(ID, "two")
    assert rows.append(ID, "two", ["2", "3"])
    assert rows.read(ID) == ["1", "2", "3"]


def test_many_small_records_become_few_and_keep_their_order(rows: TransferRows, catalog: Catalog) -> None:
    assert rows.claim(ID, TARGET, "one", seen=None)
    lines = [f"line {number}" for number in range(200)]
    for line in lines:
        assert rows.append(ID, "one", [line])
    assert rows.read(ID) == lines
    assert records(catalog) < 64


def test_lines_of_many_megabytes_are_divided(rows: TransferRows, catalog: Catalog) -> None:
    assert rows.claim(ID, TARGET, "one", seen=None)
    lines = [str(number).zfill(100_000) for number in range(50)]
    assert rows.append(ID, "one", lines)
    assert rows.read(ID) == lines
    assert records(catalog) > 1


def test_a_transfer_that_is_let_go_keeps_its_lines_or_nothing(rows: TransferRows, catalog: Catalog) -> None:
    assert rows.claim(ID, TARGET, "one", seen=None)
    assert rows.append(ID, "one", ["1"])
    rows.let_go(ID, "one", keep=True)
    found = rows.find(ID)
    assert found is not None
    assert (found.owner, rows.read(ID)) == (None, ["1"])
    assert rows.claim(ID, TARGET, "two", seen=found)
    rows.let_go(ID, "two", keep=False)
    assert (rows.find(ID), records(catalog)) == (None, 0)


def test_transfers_that_nobody_has_touched_are_found(rows: TransferRows) -> None:
    assert rows.claim(ID, TARGET, "one", seen=None)
    assert rows.untouched_since(now() - timedelta(hours=1)) == []
    assert [row.id for row in rows.untouched_since(now() + timedelta(seconds=1))] == [ID]
