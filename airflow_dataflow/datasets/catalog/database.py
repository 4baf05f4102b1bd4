"""The database that holds the catalog: connections, transactions that are tried again, and its schema."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from airflow_dataflow.datasets.catalog.connections import release, server_engine
from airflow_dataflow.datasets.catalog.faults import explained, fault_of
from airflow_dataflow.datasets.catalog.migrate import (
    migrate,
    newest_schema_version,
    schema_version,
    settled_schema_version,
)
from airflow_dataflow.errors import InvalidInputError, MissingPackageError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_SQLITE_WAIT_SECONDS = 60
_LONGEST_PAUSE_SECONDS = 0.5
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}


class Database:
    """A database on SQLite, PostgreSQL, MariaDB or MySQL.

    Between transactions a process keeps a few connections to a server, for all its catalogs there together; they close
    with :meth:`release`, and a forked process inherits none. SQLite's file is opened anew for each transaction.

    :param url: SQLAlchemy URL.
    :raises InvalidInputError: when it is none.
    """

    def __init__(self, url: str | sa.URL) -> None:
        try:
            self.url = sa.make_url(url)
        except (ArgumentError, ValueError):
            raise InvalidInputError(
                "the catalog's URL is no SQLAlchemy URL; it looks like sqlite:////data/catalog.db or "
                "postgresql+psycopg://user@host/database"
            ) from None  # what SQLAlchemy says quotes parts of the URL, and the password may be among them
        self._ready = False

    @property
    def shown(self) -> str:
        """The URL without secrets; its parameters, which may hold some, are left out too."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @cached_property
    def engine(self) -> Engine:
        """The engine; its connections know nothing of the schema yet."""
        try:
            return self._sqlite() if self.url.get_backend_name() == "sqlite" else server_engine(self.url)
        except NoSuchModuleError as error:
            raise InvalidInputError(
                f"no catalog can be kept on {self.url.drivername!r}; use sqlite, postgresql+psycopg or mysql+pymysql"
            ) from error
        except ImportError as error:
            extra = _EXTRAS.get(self.url.get_backend_name())
            remedy = f": pip install 'airflow-dataflow[{extra}]'" if extra else ""
            raise MissingPackageError(
                f"catalog {self.shown} needs the package {error.name!r}, which is not installed{remedy}"
            ) from error

    def _sqlite(self) -> Engine:
        options: dict[str, Any] = {"connect_args": {"timeout": _SQLITE_WAIT_SECONDS}, "hide_parameters": True}
        if self.url.database not in (None, "", ":memory:"):
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
            options["poolclass"] = sa.NullPool
        engine = sa.create_engine(self.url, **options)
        sa.event.listen(engine, "connect", _configure_sqlite)
        return engine

    def release(self) -> None:
        """Close the connections that nobody uses at the moment; before long work, and at the end of a task."""
        release(self.url)

    def rows(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        """Return what a query finds."""
        return self.transact(lambda connection: list(connection.execute(statement).all()))

    def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work`` in one transaction, and all of it again after a conflict or a lost connection.

        :param work: what to do; doing it twice has to do no harm, since a connection may be lost after its commit.
        :raises BusyError: when conflicts do not end.
        :raises TransferError: when the database cannot be reached.
        :raises AccessDeniedError: when it does not let us in, or not write.
        :raises NotFoundError: when there is no such database.
        """
        return self._trying(lambda: self._transact_once(work))

    def _transact_once(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.connect() as connection:
            if not self._ready:
                self._prepare(connection)
            with connection.begin():
                return work(connection)

    def upgrade(self) -> str:
        """Bring the tables to this release's schema and return its revision."""

        def work() -> None:
            with self.engine.connect() as connection:
                self._refuse_later(schema_version(connection))
                connection.rollback()
                migrate(connection)

        self._trying(work)
        self._ready = True
        return newest_schema_version()

    def _prepare(self, connection: Connection) -> None:
        """Make the tables in an empty database; refuse those of another release."""
        current, newest = settled_schema_version(connection), newest_schema_version()
        connection.rollback()
        if current is None:
            migrate(connection)
        elif current < newest:
            raise InvalidInputError(
                f"catalog {self.shown} has schema {current}, this release needs {newest}: "
                "run 'dataflow catalog upgrade'"
            )
        self._refuse_later(current)
        self._ready = True

    def _refuse_later(self, current: str | None) -> None:
        newest = newest_schema_version()
        if current is not None and current > newest:
            raise InvalidInputError(
                f"catalog {self.shown} has schema {current} of a later release, this one knows {newest}: "
                "install the release that the others use"
            )

    def _trying(self, work: Callable[[], Result]) -> Result:
        attempt = 0
        while True:
            attempt += 1
            try:
                return work()
            except DBAPIError as error:
                fault = fault_of(error)
                if fault is None:
                    raise
                if attempt >= fault.tries:
                    raise explained(error, fault, self.shown) from error
                log.info("catalog %s: %s; trying again", self.shown, " ".join(str(error.orig).split()))
            # Writers that met once must not meet again.
            time.sleep(random.uniform(0.5, 1) * min(_LONGEST_PAUSE_SECONDS, 0.01 * 2**attempt))


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
