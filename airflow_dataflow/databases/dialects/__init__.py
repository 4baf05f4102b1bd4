"""Databases: one file each, named after SQLAlchemy's name of the dialect; the folder is the registry.

``postgresql.py`` holds the class ``Postgresql``. A dialect opens a :class:`Snapshot` to read one state of a table or
query, possibly on several connections at once, and a :class:`Load` to write in one transaction. Other packages add
dialects through the entry-point group ``airflow_dataflow.databases``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from airflow_dataflow.databases.columns import Column
from airflow_dataflow.databases.source import Source
from airflow_dataflow.errors import DataflowError, InvalidInputError, MissingPackageError
from airflow_dataflow.registry import Registry

LOADS = "dataflow_loads"
"""Table, in the schema of every target, that tells which versions were loaded."""

ALIAS = "source"
"""Name of what is read in all statements."""

_SAME = {"mariadb": "mysql", "postgres": "postgresql"}


class Snapshot(ABC):
    """One state of a table or query, for as long as the block lasts, whatever others write meanwhile."""

    columns: tuple[Column, ...]
    """Columns of the source, in its order."""
    key: tuple[str, ...]
    """Columns of the primary key; none for a query or a table without one."""
    relation: str
    """What stands after FROM; it has the alias :data:`ALIAS`."""
    readers: int
    """How many connections see this state; each reads one range at a time."""

    @abstractmethod
    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a small query."""

    @abstractmethod
    def batches(self, sql: str, reader: int, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query as the database sends them, a few megabytes at a time.

        :param sql: selects the expressions of ``columns``, in their order.
        :param reader: number of the connection, from 0; safe to use beside other readers.
        :param columns: what is read.
        """

    @abstractmethod
    def quote(self, name: str) -> str:
        """Return a name as an identifier of SQL."""

    def column(self, name: str) -> str:
        """Return a column of the source for ORDER BY, which takes a bare name for what is selected, e.g. as text."""
        return f"{ALIAS}.{self.quote(name)}"

    @abstractmethod
    def literal(self, text: str, kind: pa.DataType) -> str:
        """Return a value, as :meth:`as_text` gave it, as a literal of SQL that is compared by the column's type."""

    @abstractmethod
    def as_text(self, expression: str) -> str:
        """Return the SQL for the exact text of a value."""

    @abstractmethod
    def ago(self, seconds: float) -> str:
        """Return the SQL for the moment so many seconds before the present."""

    def unchanged_mark(self) -> str | None:
        """Return what differs after every change of the source, at a fraction of the cost of reading it.

        ``None`` when there is no such thing; the source has to be read then.
        """
        return None


class Load(ABC):
    """One transaction that writes to a table; all of it counts when the block ends without an error, or nothing."""

    @abstractmethod
    def columns(self) -> dict[str, bool] | None:
        """Return the columns of the target, each with whether a row has to name it; ``None`` when it is absent."""

    @abstractmethod
    def create(self, schema: pa.Schema, key: Sequence[str]) -> None:
        """Make the target table with the columns of a schema."""

    @abstractmethod
    def claim(self, reference: str, *, forget_others: bool) -> bool:
        """Record that a version is loaded; others who load the same one wait for this transaction.

        :param forget_others: whether the rows of all other versions go away with this load.
        :returns: whether it was not recorded before.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete all rows of the target."""

    @abstractmethod
    def begin(self, schema: pa.Schema, key: Sequence[str]) -> None:
        """Get ready for rows.

        :param schema: the columns of all batches.
        :param key: columns by which rows replace others; none to only add rows.
        """

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Send rows."""

    @abstractmethod
    def finish(self) -> int:
        """Make sure that all rows have arrived, and return how many the target got."""


class Dialect(ABC):
    """How one kind of database is read and written.

    :param url: SQLAlchemy URL, credentials included; never logged.
    """

    drivers: ClassVar[Mapping[str, str]]
    """Modules that are needed, each with the package that has it."""
    extra: ClassVar[str]
    """Extra of this package that installs them."""
    lock_seconds: ClassVar[int] = 60
    """How long to wait for a lock that others hold."""
    readers: ClassVar[int] = 1
    """How many connections read at once when nobody says so; more only where they do not wait for each other."""

    def __init__(self, url: sa.URL) -> None:
        self.url = url

    @property
    def name(self) -> str:
        """Name of the dialect."""
        return type(self).__name__.lower()

    @property
    def place(self) -> str:
        """Where the database is, without credentials."""
        host = self.url.host or "this machine"
        return f"{self.name}://{host}{f':{self.url.port}' if self.url.port else ''}/{self.url.database or ''}"

    @abstractmethod
    def snapshot(self, source: Source, readers: int) -> AbstractContextManager[Snapshot]:
        """Open one consistent state of a source.

        :param source: a table or query.
        :param readers: how many connections would be used; a snapshot may have fewer.
        """

    @abstractmethod
    def load(self, table: Source) -> AbstractContextManager[Load]:
        """Open a transaction that writes to a table."""

    @abstractmethod
    def explain(self, error: Exception, what: str) -> DataflowError | None:
        """Return an error that says whether a retry helps and what to do, without any secret; ``None`` for others.

        :param error: what the driver raised.
        :param what: the table or query, as a person knows it.
        """

    @contextmanager
    def errors_explained(self, what: str) -> Iterator[None]:
        """Turn errors of the driver into such that say whether a retry helps, and hide the password in them."""
        try:
            yield
        except DataflowError:
            raise
        except Exception as error:
            original = error.orig if isinstance(error, DBAPIError) and error.orig else error
            explained = self.explain(original, what)
            if explained is None:
                raise
            # The original may quote the connection string, so it must not show up in a traceback.
            raise explained from None

    def message(self, error: Exception) -> str:
        """Return the error's text in one line, without the password."""
        text = " ".join(str(error).split())
        password = self.url.password
        return text.replace(str(password), "***") if password else text


DIALECTS: Registry[Dialect] = Registry(__name__, "database", "airflow_dataflow.databases")


def open_database(url: str | sa.URL) -> Dialect:
    """Return the dialect for a SQLAlchemy URL.

    :param url: e.g. ``postgresql://user:password@host/database``; the driver in it does not matter.
    :raises InvalidInputError: when it is no URL, or no dialect has its name.
    :raises MissingPackageError: when the driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise InvalidInputError("this is no URL of a database, such as postgresql://user@host/database") from None
    name = parsed.get_backend_name()
    kind = DIALECTS.get(_SAME.get(name, name))
    for module, package in kind.drivers.items():
        try:
            __import__(module)
        except ImportError as error:
            raise MissingPackageError(
                f"{name}:// needs {package}, which is not installed: pip install 'airflow-dataflow[{kind.extra}]'"
            ) from error
    return kind(parsed)
