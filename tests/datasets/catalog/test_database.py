"""The catalog's database: what goes wrong there, and what is tried again."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.database import Database
from airflow_dataflow.errors import (
    AccessDeniedError,
    BusyError,
    DataflowError,
    InvalidInputError,
    MissingPackageError,
    NotFoundError,
    StorageFullError,
    TransferError,
    is_terminal,
)
from tests.datasets.catalog.versions import manifest, replica
from tests.services.sql import SERVERS

SECRET = "hunter2-hidden"


def _everything_said(error: BaseException) -> str:
    words = []
    at: BaseException | None = error
    while at is not None:
        words.append(str(at))
        at = at.__cause__
    return " ".join(words)


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
@pytest.mark.parametrize(
    ("changes", "kind", "remedy", "terminal"),
    [
        ({"password": SECRET}, AccessDeniedError, "check user and password", True),
        ({"username": "nobody_here", "password": SECRET}, AccessDeniedError, "check user and password", True),
        ({"database": "nothing_here"}, NotFoundError, "create it, empty", True),
        ({"host": "no-such-host.invalid", "password": SECRET}, TransferError, "check host and port", False),
    ],
    ids=["password", "user", "database", "host"],
)
def test_what_is_wrong_with_an_address_is_named_without_its_password(
    server_url: str, changes: dict[str, str], kind: type[DataflowError], remedy: str, terminal: bool
) -> None:
    url = sa.make_url(server_url).set(**changes)
    with pytest.raises(kind, match=remedy) as caught:
        Catalog(url).datasets()
    assert is_terminal(caught.value) is terminal
    said = _everything_said(caught.value)
    assert SECRET not in said
    assert str(sa.make_url(server_url).password) not in said


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_port_where_nobody_answers_may_answer_later(driver: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"{driver}://user:{SECRET}@127.0.0.1:{probe.getsockname()[1]}/db"
        with pytest.raises(TransferError, match="cannot be reached") as caught:
            Catalog(url).datasets()
    assert SECRET not in _everything_said(caught.value)


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("no url", InvalidInputError, "is no SQLAlchemy URL"),
        (f"postgresql://user:{SECRET}@host:port/db", InvalidInputError, "is no SQLAlchemy URL"),
        ("duckdb:///x", InvalidInputError, "no catalog can be kept on 'duckdb'"),
        (f"mysql+mysqldb://user:{SECRET}@host/db", MissingPackageError, r"pip install 'airflow-dataflow\[mysql\]'"),
    ],
)
def test_an_address_that_no_database_has_is_explained(url: str, kind: type[DataflowError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        Catalog(url).datasets()
    assert SECRET not in _everything_said(caught.value)


def test_a_password_among_the_parameters_is_not_shown_either() -> None:
    catalog = Catalog(f"postgresql+psycopg://user:{SECRET}@host/db?password={SECRET}")
    assert catalog.database.shown == "postgresql+psycopg://user:***@host/db"


def test_a_folder_in_the_place_of_the_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccessDeniedError, match=f"catalog sqlite:///{tmp_path} cannot be written"):
        Catalog(f"sqlite:///{tmp_path}").datasets()


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_a_user_who_may_not_write_is_told_so(server_url: str) -> None:
    Catalog(server_url).datasets()
    url = sa.make_url(server_url)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"reader_{os.urandom(4).hex()}"
    who = name if url.get_backend_name() == "postgresql" else f"{name}@'127.0.0.1'"
    with engine.connect() as connection:
        if url.get_backend_name() == "postgresql":
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
            connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        else:
            connection.exec_driver_sql(f"CREATE USER {who} IDENTIFIED BY '{SECRET}'")
            connection.exec_driver_sql(f"GRANT SELECT ON {url.database}.* TO {who}")
        reader = Catalog(url.set(username=name, password=SECRET))
        assert reader.datasets() == []
        with pytest.raises(AccessDeniedError, match="let this user write") as caught:
            reader.add(manifest(0), replica(manifest(0)))
        assert SECRET not in _everything_said(caught.value)
        reader.release()
        if url.get_backend_name() == "postgresql":
            connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}")
        connection.exec_driver_sql(f"DROP USER {who}")
    engine.dispose()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.datasets()

    def limit(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.exec_driver_sql("CREATE TABLE more (x)")

    with pytest.raises(StorageFullError, match="no space left for catalog"):
        catalog.database.transact(limit)


# tried again ----------------------------------------------------------------------------------


@pytest.fixture
def at_the_first_try(catalog_url: str) -> Iterator[Callable[[sa.Connection], None]]:
    """Return a function that ends its connection the first time it is called."""
    engine = sa.create_engine(catalog_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    calls = []

    def end(connection: sa.Connection) -> None:
        calls.append(1)
        if len(calls) == 1:
            postgres = connection.dialect.name == "postgresql"
            own = connection.execute(sa.select(sa.func.pg_backend_pid() if postgres else sa.func.connection_id()))
            with engine.connect() as other:
                number = own.scalar()
                other.exec_driver_sql(f"SELECT pg_terminate_backend({number}, 10000)" if postgres else f"KILL {number}")

    yield end
    engine.dispose()


@pytest.mark.parametrize("catalog_url", SERVERS, indirect=True)
def test_a_transaction_whose_connection_is_lost_is_done_again(
    catalog_url: str, at_the_first_try: Callable[[sa.Connection], None], caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog(catalog_url)
    catalog.add(manifest(0), replica(manifest(0)))

    def work(connection: sa.Connection) -> int:
        connection.exec_driver_sql("DELETE FROM dataflow_replicas")
        at_the_first_try(connection)
        connection.exec_driver_sql("DELETE FROM dataflow_versions")
        return 7

    with caplog.at_level(logging.INFO):
        assert catalog.database.transact(work) == 7
    assert caplog.text.count("trying again") == 1
    assert str(sa.make_url(catalog_url).password) not in caplog.text
    assert catalog.datasets() == []


@pytest.mark.parametrize("catalog_url", SERVERS, indirect=True)
def test_of_two_transactions_that_wait_for_each_other_both_end_well(catalog_url: str) -> None:
    catalog = Catalog(catalog_url)
    made = [manifest(day) for day in range(2)]
    for version in made:
        catalog.add(version, replica(version))
    meet = threading.Barrier(2)
    tries = []

    def work(first: int, second: int) -> None:
        mine = Database(catalog_url)

        def update(connection: sa.Connection) -> None:
            tries.append(first)
            for number, version in enumerate((made[first], made[second])):
                connection.exec_driver_sql(
                    f"UPDATE dataflow_versions SET files = files + 1 WHERE version = '{version.version}'"
                )
                if number == 0 and tries.count(first) == 1:
                    meet.wait(20)

        mine.transact(update)

    threads = [threading.Thread(target=work, args=pair) for pair in ((0, 1), (1, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(tries) > 2, "one of them was the victim"
    rows = catalog.database.rows(sa.text("SELECT files FROM dataflow_versions"))
    assert [row.files for row in rows] == [2, 2]


def test_a_conflict_that_does_not_end_is_told_after_some_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deadlock(Exception):  # noqa: N818 - as a driver of PostgreSQL has it
        sqlstate = "40P01"

    def work(connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("UPDATE", {}, Deadlock("deadlock detected"))

    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with pytest.raises(BusyError, match="others changed the same rows all the time"):
        Database(f"sqlite:///{tmp_path}/catalog.db").transact(work)
    assert len(pauses) == 24
    assert 5 < sum(pauses) < 15
