"""What goes wrong between a database and a version: nothing half, a clear error, and no secret in it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import traceback
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from airflow_dataflow.databases.dialects import Dialect, open_database
from airflow_dataflow.databases.dialects.mysql import MysqlSnapshot
from airflow_dataflow.databases.dialects.postgresql import PostgresqlSnapshot
from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.errors import (
    AccessDeniedError,
    BusyError,
    InvalidInputError,
    NotFoundError,
    TerminalError,
    TransferError,
    TransientError,
)
from airflow_dataflow.ingest.table import ingest_table
from airflow_dataflow.ingest.table_options import TableOptions
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.killing import killed_at

AT = datetime(2026, 11, 23, tzinfo=UTC)
SNAPSHOTS = (PostgresqlSnapshot, MysqlSnapshot)


@pytest.fixture
def between(monkeypatch):
    """Return a function that lets something happen once, between the first rows that are read and the next."""

    def install(happen):
        happened = []
        for kind in SNAPSHOTS:
            original = kind.batches

            def batches(self, sql, reader, columns, original=original):
                for batch in original(self, sql, reader, columns):
                    yield batch
                    if not happened:
                        happened.append(1)
                        happen()

            monkeypatch.setattr(kind, "batches", batches)
        return happened

    return install


@pytest.fixture
def wide(tables):
    """Return a database with a table that takes many batches, and more bytes than any buffer on the way holds."""
    tables.run(
        "CREATE TABLE t (id int PRIMARY KEY, text varchar(2000))",
        f"INSERT INTO t SELECT i, repeat('x', 2000) FROM {tables.series(20_000)}",
    )
    return tables


def ingest(store, url, night=0, **options):
    """Ingest the table ``t``."""
    return ingest_table(store, url, "t", "shop/t", at=AT + timedelta(days=night), options=TableOptions(**options))


def ids(store, manifest):
    """Return the ids of a version, in order."""
    found = []
    for entry in manifest.files_under("data"):
        with store.directory(manifest).open(entry.path) as file:
            found += pq.read_table(file, columns=["id"])["id"].to_pylist()
    return found


def test_rows_that_come_and_go_while_a_table_is_read_do_not_show(wide, store, between):
    def change():
        wide.run(
            "DELETE FROM t WHERE id % 2 = 0",
            "INSERT INTO t VALUES (20001, 'new')",
            "UPDATE t SET id = -id WHERE id < 99",
        )

    assert between(change) == []
    manifest = ingest(store, wide.url, range_rows=3000, readers=2)
    assert ids(store, manifest) == list(range(1, 20_001))
    assert ingest(store, wide.url, 1).rows_out == 10_001


@pytest.mark.parametrize("statement", ["DROP TABLE t", "ALTER TABLE t DROP COLUMN text", "TRUNCATE TABLE t"])
def test_a_table_that_others_want_to_drop_or_alter_is_read_to_its_end_first(wide, store, between, statement):
    threads = []

    def change():
        threads.append(threading.Thread(target=wide.run, args=(statement,)))
        threads[0].start()

    between(change)
    manifest = ingest(store, wide.url, range_rows=3000, readers=2)
    threads[0].join()
    assert ids(store, manifest) == list(range(1, 20_001))
    if "TABLE t DROP" in statement:
        assert ingest(store, wide.url, 1).columns == {"id": "int32"}
    else:
        with pytest.raises(TerminalError, match=r"no table or view 't'|doesn't exist|has no rows"):
            ingest(store, wide.url, 1)


def test_a_connection_that_the_server_ends_is_a_reason_to_try_again(wide, store, between):
    def end():
        if wide.is_postgres:
            wide.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                     "AND datname = current_database()")  # fmt: skip
        else:
            own = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
            wide.run(*(f"KILL {number}" for (number,) in wide.run(own)))

    between(end)
    with pytest.raises(TransientError):
        ingest(store, wide.url)
    assert list(store.catalog.manifests("shop/t")) == []
    assert store.hot.directory.files() == {}
    assert ids(store, ingest(store, wide.url)) == list(range(1, 20_001))


@pytest.mark.postgres
def test_a_table_that_somebody_is_altering_is_a_reason_to_try_again(postgres_tables, store, monkeypatch):
    monkeypatch.setattr(Dialect, "lock_seconds", 1)
    postgres_tables.run("CREATE TABLE t (id int)")
    with postgres_tables.connection("READ COMMITTED") as other:
        other.exec_driver_sql("ALTER TABLE t ADD COLUMN more int")
        with pytest.raises(BusyError, match="holds the table"):
            ingest(store, postgres_tables.url)


# kills ------------------------------------------------------------------------------------------


def ingest_and_die(root, url, batches):
    """Ingest the table, and be killed when some batches were read."""
    left = [batches]
    for kind in SNAPSHOTS:
        original = kind.batches

        def dying(self, sql, reader, columns, original=original):
            for batch in original(self, sql, reader, columns):
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                yield batch

        kind.batches = dying
    _ingest(root, url)


def _ingest(root, url):
    ingest(_store(root), url, range_rows=500)


def _store(root):
    return Store([Tier(name="hot", tier_class="hot", url=f"{root}/hot")], Catalog(f"sqlite:///{root}/catalog.db"))


def test_an_ingest_that_is_killed_while_it_reads_leaves_nothing(wide, store, tmp_path):
    assert killed_at(10**9, ingest_and_die, str(tmp_path), wide.url, 3)
    assert list(store.catalog.manifests("shop/t")) == []
    assert store.hot.directory.files() == {}
    assert ids(store, ingest(store, wide.url)) == list(range(1, 20_001))


@pytest.mark.postgres
def test_an_ingest_that_is_killed_at_any_step_is_finished_by_a_second_one(postgres_tables, tmp_path):
    postgres_tables.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)")
    kills = 0
    for step in range(5, 10_000, 25):
        root = tmp_path / str(step)
        root.mkdir()
        killed = killed_at(step, _ingest, str(root), postgres_tables.url)
        store = _store(root)
        known = [manifest.reference for manifest in store.catalog.manifests("shop/t")]
        manifest = ingest(store, postgres_tables.url, range_rows=500)
        assert ids(store, manifest) == list(range(1, 1001))
        assert known in ([], [manifest.reference])
        assert len(list(store.catalog.manifests("shop/t"))) == 1
        if not killed:
            break
        kills += 1
    assert kills > 3


# credentials ------------------------------------------------------------------------------------


def wrong(tables, **parts):
    """Return the URL with other parts."""
    return sa.make_url(tables.url).set(**parts)


SECRET = "s3cr3t-w0rd"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"password": SECRET}, AccessDeniedError, "check login and password"),
        ({"username": "nobody", "password": SECRET}, AccessDeniedError, "check login"),
        ({"database": "nowhere"}, NotFoundError, "nowhere"),
        ({"host": "no-such-host.invalid"}, (NotFoundError, TransferError), "no-such-host.invalid"),
        ({"port": None}, TransferError, "is the server up"),
    ],
)
def test_a_connection_that_fails_says_what_to_do_and_no_secret(tables, store, caplog, parts, error, message):
    caplog.set_level(logging.DEBUG)
    parts = {"password": SECRET, **parts} if "host" in parts or "port" in parts else parts
    if "port" in parts:
        parts["port"] = free_port()
    with pytest.raises(error, match=message) as raised:
        ingest(store, wrong(tables, **parts))
    shown = (
        "".join(traceback.format_exception(raised.value)) + caplog.text + repr(open_database(wrong(tables, **parts)))
    )
    passwords = {SECRET, sa.make_url(tables.url).password}
    assert [word for word in passwords if word in shown] == []


def test_a_missing_privilege_is_named(tables, store):
    tables.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    host = "" if tables.is_postgres else "@'127.0.0.1'"
    name = "onlooker_" + sa.make_url(tables.url).database
    made = f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'" if tables.is_postgres else (
        f"CREATE USER {name}{host} IDENTIFIED BY '{SECRET}'")  # fmt: skip
    grant = [] if tables.is_postgres else [f"GRANT CREATE ON {sa.make_url(tables.url).database}.* TO {name}{host}"]
    tables.run(made, *grant)
    try:
        with pytest.raises(AccessDeniedError, match="grant this user the privilege"):
            ingest(store, wrong(tables, username=name, password=SECRET))
    finally:
        tables.run(f"DROP {'ROLE' if tables.is_postgres else 'USER'} {name}{host}")


def test_what_is_no_url_is_told_without_showing_it(store):
    with pytest.raises(InvalidInputError) as raised:
        ingest(store, f"not a url {SECRET}")
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_no_secret_gets_into_a_manifest_or_the_log(tables, store, caplog):
    caplog.set_level(logging.DEBUG)
    tables.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    manifest = ingest(store, tables.url)
    password = sa.make_url(tables.url).password
    assert password not in manifest.to_bytes().decode() + caplog.text
