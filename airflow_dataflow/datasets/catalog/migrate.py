"""Bringing the catalog's tables to this release's schema."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_dataflow.datasets.catalog.tables import MYSQL, VERSION_TABLE
from airflow_dataflow.errors import BusyError

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = "dataflow catalog upgrade"
_LOCK_WAIT_SECONDS = 120


def schema_version(connection: Connection) -> str | None:
    """Return the revision of the tables, ``None`` when there are none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()


def settled_schema_version(connection: Connection) -> str | None:
    """Return the revision of the tables when no upgrade is under way: on MySQL others see each step of one.

    :raises BusyError: when another process is at it for two minutes.
    """
    found = schema_version(connection)
    if found is None or found >= newest_schema_version() or connection.dialect.name not in MYSQL:
        return found
    with _mysql_lock(connection):
        return schema_version(connection)


def newest_schema_version() -> str:
    """Return the revision that this release needs."""
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest schema; one process at a time does so, the others wait and find it done.

    PostgreSQL and SQLite do all of it in one transaction. MySQL commits after each statement, so what a killed process
    has done stays; every step looks first whether it was taken, and the next call goes on from there.

    :param connection: a connection that is in no transaction.
    :raises BusyError: when another process is at it for two minutes.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _alone(connection):
        command.upgrade(config, "head")
        connection.commit()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
    elif connection.dialect.name in MYSQL:
        with _mysql_lock(connection):
            yield
    else:
        number = int.from_bytes(hashlib.sha256(_LOCK.encode()).digest()[:8], "big", signed=True)
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_SECONDS}s'"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
        connection.execute(sa.text("SET LOCAL lock_timeout = DEFAULT"))
        yield


@contextmanager
def _mysql_lock(connection: Connection) -> Iterator[None]:
    # The name counts for the whole server, so it has to tell one database from another.
    database = connection.execute(sa.select(sa.func.database())).scalar()
    name = hashlib.sha256(f"{_LOCK} {database}".encode()).hexdigest()[:32]
    if connection.execute(sa.select(sa.func.get_lock(name, _LOCK_WAIT_SECONDS))).scalar() != 1:
        raise BusyError(
            f"another process is upgrading the tables of {database} for more than {_LOCK_WAIT_SECONDS} seconds; "
            "wait until it ends"
        )
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(name)))
        connection.rollback()
