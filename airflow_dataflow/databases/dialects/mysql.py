"""MySQL and MariaDB: read as raw bytes into Arrow from a consistent snapshot; loaded by LOAD DATA LOCAL."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import pyarrow as pa

from airflow_dataflow.databases.columns import Column
from airflow_dataflow.databases.dialects import ALIAS, Dialect, Load, Snapshot
from airflow_dataflow.databases.dialects._mysql_connect import RawConnection, arguments_of
from airflow_dataflow.databases.dialects._mysql_errors import NO_PRIVILEGE, explain
from airflow_dataflow.databases.dialects._mysql_load import MysqlLoad
from airflow_dataflow.databases.dialects._mysql_types import MysqlType, column_of
from airflow_dataflow.databases.source import Source
from airflow_dataflow.errors import DataflowError, InvalidInputError

_FIRST_ROWS, _MOST_ROWS, _GROWTH = 64, 20_000, 4
_BATCH_BYTES = 4 << 20
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Mysql(Dialect):
    """MySQL from version 8 on, and MariaDB from version 10.5 on; rows have to be in InnoDB to be consistent."""

    drivers: ClassVar[Mapping[str, str]] = {"asyncmy": "asyncmy", "pymysql": "PyMySQL"}
    extra: ClassVar[str] = "mysql"

    @contextmanager
    def snapshot(self, source: Source, readers: int) -> Iterator[Snapshot]:
        """Open connections that all see the same state; the tables cannot be altered once they are read."""
        arguments = arguments_of(self.url, self.lock_seconds)
        with ExitStack() as stack, self.errors_explained(source.label):

            def connect() -> RawConnection:
                connection = RawConnection(arguments)
                stack.callback(connection.close)
                return connection

            # To begin several transactions at one moment takes one connection more, which holds the lock.
            wanted = readers + 1 if source.table is not None and readers > 1 else 1
            yield MysqlSnapshot(source, _at_one_moment([connect() for _ in range(wanted)], source))

    @contextmanager
    def load(self, table: Source) -> Iterator[Load]:
        """Open a transaction; making a table ends one here, so that is done before, and undone after a failure."""
        import pymysql

        with self.errors_explained(table.label), ExitStack() as stack:
            connection = stack.enter_context(
                pymysql.connect(**arguments_of(self.url, self.lock_seconds), local_infile=True)
            )
            with connection.cursor() as cursor:
                # By default deleting rows locks the gaps between them, in which loads of other tables then meet.
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.autocommit(False)  # noqa: FBT003 - PyMySQL's own signature
            load = MysqlLoad(connection, table)
            try:
                yield load
                connection.commit()
            except BaseException:
                load.undo()
                raise

    def explain(self, error: Exception, what: str) -> DataflowError | None:
        """Judge by the server's error number."""
        return explain(error, what, self.place, self.message(error))


class MysqlSnapshot(Snapshot):
    """Transactions that began at one moment."""

    def __init__(self, source: Source, connections: Sequence[RawConnection]) -> None:
        self._connections = connections
        self.readers = len(connections)
        what = f"(\n{source.query}\n)" if source.query is not None else qualified(source)
        self.relation = f"{what} AS {ALIAS}"
        self.columns = self._describe(source)
        self.key = self._primary_key(source) if source.table is not None else ()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a small query, as text."""
        return [
            tuple(None if value is None else value.decode() for value in row) for row in self._connections[0].rows(sql)
        ]

    def batches(self, sql: str, reader: int, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        """Yield the values as the bytes that the server sends."""
        connection = self._connections[reader]
        cursor = connection.open(sql)
        names = [f"{number}" for number in range(len(columns))]
        size = _FIRST_ROWS
        while rows := connection.fetch(cursor, size):
            batch = pa.record_batch([pa.array(values, pa.binary()) for values in zip(*rows, strict=True)], names=names)
            size = min(size * _GROWTH, _MOST_ROWS, max(int(_BATCH_BYTES / max(batch.nbytes / len(rows), 1)), 1))
            yield batch
        connection.close_cursor(cursor)

    def quote(self, name: str) -> str:
        """Return the name in backticks."""
        return quoted(name)

    def literal(self, text: str, kind: pa.DataType) -> str:
        """Return a number as it is, since a number in quotes is compared as a float, and all else in quotes."""
        if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            if not _NUMBER.fullmatch(text):
                raise InvalidInputError(f"{text!r} is no number to compare with")
            return text
        escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0")
        return f"'{escaped}'"

    def as_text(self, expression: str) -> str:
        """Return a cast to text."""
        return f"CAST({expression} AS CHAR)"

    def ago(self, seconds: float) -> str:
        """Count from the time in UTC, which is the zone of this session."""
        return f"(NOW(6) - INTERVAL {seconds:f} SECOND)"

    def _describe(self, source: Source) -> tuple[Column, ...]:
        fields = self._connections[0].fields(f"SELECT * FROM {self.relation} LIMIT 0")
        twice = [name for name, count in Counter(item.name for item in fields).items() if count > 1]
        if twice or not fields:
            raise InvalidInputError(
                f"{source.label}: " + (f"column {twice[0]!r} occurs twice" if twice else "no columns")
            )
        return tuple(
            column_of(
                item.name,
                MysqlType(
                    code=item.type_code,
                    flags=item.flags,
                    charset=item.charsetnr,
                    length=item.length,
                    scale=item.scale,
                ),
                quoted(item.name),
            )
            for item in fields
        )

    def _primary_key(self, source: Source) -> tuple[str, ...]:
        found = self.rows(
            "SELECT column_name FROM information_schema.statistics WHERE index_name = 'PRIMARY' "
            f"AND table_name = {self.literal(source.table or '', pa.string())} "
            f"AND table_schema = {_schema(self, source)} ORDER BY seq_in_index"
        )
        return tuple(name for (name,) in found)


def _schema(snapshot: MysqlSnapshot, source: Source) -> str:
    return snapshot.literal(source.schema, pa.string()) if source.schema else "DATABASE()"


def _at_one_moment(connections: Sequence[RawConnection], source: Source) -> Sequence[RawConnection]:
    """Begin a transaction on each connection; several of them while nobody can write to the table.

    :returns: the connections, only the first one when this user may not lock the table.
    """
    from asyncmy.errors import OperationalError

    first, *others = connections
    begin = ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"]
    if others:
        try:
            first.rows(f"LOCK TABLES {qualified(source)} READ")
        except OperationalError as error:
            if error.args[0] not in NO_PRIVILEGE:
                raise
            others = []
    for connection in others:
        for statement in begin:
            connection.rows(statement)
    if others:
        first.rows("UNLOCK TABLES")
        return others
    for statement in begin:
        first.rows(statement)
    return [first]


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL, whatever is in it.

    :raises InvalidInputError: for a name that MySQL cannot have.
    """
    if not name or "\0" in name:
        raise InvalidInputError(f"{name!r} is no name of a table or column")
    return "`" + name.replace("`", "``") + "`"


def qualified(source: Source) -> str:
    """Return the name of a table as SQL."""
    return f"{quoted(source.schema)}.{quoted(source.table or '')}" if source.schema else quoted(source.table or "")
