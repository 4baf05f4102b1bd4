"""PostgreSQL: read by COPY in its binary form into Arrow, on any number of connections; loaded by COPY."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa

from airflow_dataflow.databases.columns import Column
from airflow_dataflow.databases.dialects import ALIAS, Dialect, Load, Snapshot
from airflow_dataflow.databases.dialects._postgresql_errors import explain
from airflow_dataflow.databases.dialects._postgresql_load import PostgresqlLoad, make_loads
from airflow_dataflow.databases.dialects._postgresql_types import PostgresType, column_of
from airflow_dataflow.databases.source import Source
from airflow_dataflow.errors import DataflowError, InvalidInputError, NotFoundError

_BATCH_BYTES = 4 << 20
_CONNECT_SECONDS = "30"
_SETTINGS = (
    "SET client_encoding = 'UTF8'",
    "SET timezone = 'UTC'",
    "SET datestyle = 'ISO'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET synchronize_seqscans = off",
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
)
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SHAPE = (
    "WITH RECURSIVE tables (oid) AS (SELECT to_regclass(%s)::oid "
    "UNION SELECT inhrelid FROM pg_inherits JOIN tables ON inhparent = tables.oid) "
    "SELECT (SELECT md5(string_agg(ROW(attrelid, attnum, atttypid, attmissingval::text, adbin::text)::text, '' "
    "ORDER BY attrelid, attnum)) FROM pg_attribute JOIN tables ON attrelid = tables.oid "
    "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped), "
    "(SELECT md5(string_agg(ROW(oid, enumlabel)::text, '' ORDER BY oid)) FROM pg_enum)"
)
"""Hashes of the columns of a table and of its partitions, and of all enumerations."""
_LOCKABLE = frozenset("rpv")
_WITH_ROWS = frozenset("rpm")
_HAS_RECORD_HASHES = 140_000


class Postgresql(Dialect):
    """PostgreSQL, from version 12 on."""

    drivers: ClassVar[Mapping[str, str]] = {
        "psycopg": "psycopg",
        "adbc_driver_postgresql": "adbc-driver-postgresql",
    }
    extra: ClassVar[str] = "postgres"
    readers: ClassVar[int] = 2

    @property
    def conninfo(self) -> str:
        """URI as libpq reads it, with the password."""
        url = self.url.set(drivername="postgresql")
        if "connect_timeout" not in url.query:
            url = url.update_query_dict({"connect_timeout": _CONNECT_SECONDS})
        return url.render_as_string(hide_password=False)

    @property
    def _lock_setting(self) -> str:
        return f"SET lock_timeout = '{self.lock_seconds}s'"

    @contextmanager
    def snapshot(self, source: Source, readers: int) -> Iterator[Snapshot]:
        """Open connections that all see the same state; the table cannot be altered or dropped meanwhile."""
        import psycopg

        with ExitStack() as stack, self.errors_explained(source.label):
            control = stack.enter_context(psycopg.connect(self.conninfo, autocommit=True))
            for setting in (*_SETTINGS, self._lock_setting):
                control.execute(setting)
            table, kind = _kind(control, source)
            lock = f"LOCK TABLE {table} IN ACCESS SHARE MODE" if kind in _LOCKABLE else None
            control.execute(_BEGIN)
            if lock:
                # Before the state is fixed: a table that is emptied in between would look empty in the older state.
                control.execute(lock)
            exported = str(_value(control, "SELECT pg_export_snapshot()"))
            yield PostgresqlSnapshot(
                control, source, table, kind, [self._reader(stack, exported, lock) for _ in range(readers)]
            )

    def _reader(self, stack: ExitStack, exported: str, lock: str | None) -> Any:
        import adbc_driver_postgresql.dbapi as adbc

        connection = stack.enter_context(adbc.connect(self.conninfo, autocommit=True))
        statements = [*_SETTINGS, self._lock_setting, _BEGIN, f"SET TRANSACTION SNAPSHOT '{exported}'"]
        if lock:
            # Without waiting: who waits to drop the table would make this connection wait behind them, for ever.
            statements.append(f"{lock} NOWAIT")
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        return connection

    @contextmanager
    def load(self, table: Source) -> Iterator[Load]:
        """Open a transaction; it also makes the table where that is absent."""
        import psycopg

        with (
            self.errors_explained(table.label),
            psycopg.connect(self.conninfo, autocommit=True) as connection,
        ):
            for setting in (*_SETTINGS, self._lock_setting):
                connection.execute(setting)
            make_loads(connection, table)
            with connection.transaction(), ExitStack() as stack:
                yield PostgresqlLoad(connection, table, stack)

    def explain(self, error: Exception, what: str) -> DataflowError | None:
        """Judge by the SQLSTATE, and by libpq's messages before there is a connection."""
        return explain(error, what, self.place, self.message(error))


class PostgresqlSnapshot(Snapshot):
    """An exported snapshot, seen by one connection per reader and one for small queries."""

    def __init__(self, control: Any, source: Source, table: str, kind: str, readers: Sequence[Any]) -> None:
        self.relation = f"{table} AS {ALIAS}" if table else f"(\n{source.query}\n) AS {ALIAS}"
        self._table = table
        self.readers = len(readers)
        self._control = control
        self._kind = kind
        self._connections = readers
        self.columns = self._describe(source)
        self.key = self._primary_key() if kind in _LOCKABLE else ()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a small query."""
        return list(self._control.execute(sql.encode()).fetchall())

    def batches(self, sql: str, reader: int, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """Yield what COPY sends."""
        import psycopg

        options = {"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
        with self._connections[reader].cursor(adbc_stmt_kwargs=options) as cursor:
            cursor.execute(sql)
            stream = cursor.fetch_record_batch()
            while True:
                try:
                    batch = stream.read_next_batch()
                except StopIteration:
                    return
                except (pa.ArrowException, OSError) as error:
                    # Arrow's stream hands over the driver's message, but not its kind of error.
                    raise psycopg.OperationalError(str(error)) from error
                yield batch

    def quote(self, name: str) -> str:
        """Return the name in double quotes."""
        return quoted(name)

    def literal(self, text: str, kind: pa.DataType) -> str:
        """Return the text as a literal whose type follows from the column that it is compared with."""
        del kind
        if "\0" in text:
            raise InvalidInputError("a key or watermark contains a NUL byte")
        doubled = text.replace("'", "''").replace("\\", "\\\\")
        return f"E'{doubled}'"

    def as_text(self, expression: str) -> str:
        """Return a cast to text."""
        return f"({expression})::text"

    def ago(self, seconds: float) -> str:
        """Count from the time at which the snapshot was taken."""
        return f"(transaction_timestamp() - interval '{seconds:f} seconds')"

    def unchanged_mark(self) -> str | None:
        """Return a hash of place and writing transaction of all rows, of their table, and of which server that is.

        What a row shows can change without the row: by a column that is made anew with a default, and by a new name
        for a value of an enumeration.
        """
        if self._kind not in _WITH_ROWS or self._control.info.server_version < _HAS_RECORD_HASHES:
            return None
        rows = self.rows(
            f"SELECT count(*), sum(hash_record_extended(ROW(tableoid, ctid, xmin), 0))::text, "
            f"(SELECT system_identifier FROM pg_control_system()) FROM {self.relation}"
        )
        shape = self._control.execute(_SHAPE, (self._table,)).fetchone() or ()
        return ":".join(str(value) for value in (*rows[0], *shape))

    def _describe(self, source: Source) -> tuple[Column, ...]:
        cursor = self._control.execute(f"SELECT * FROM {self.relation} LIMIT 0".encode())
        described = cursor.description or ()
        names = [column.name for column in described]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice or not names:
            raise InvalidInputError(
                f"{source.label}: " + (f"column {twice[0]!r} occurs twice" if twice else "no columns")
            )
        modifiers = [cursor.pgresult.fmod(number) for number in range(len(described))]
        kinds = self._types(
            [(column.type_code, modifier) for column, modifier in zip(described, modifiers, strict=True)]
        )
        return tuple(
            column_of(name, kind, quoted(name), partial(self._dimensions, name))
            for name, kind in zip(names, kinds, strict=True)
        )

    def _types(self, described: Sequence[tuple[int, int]]) -> list[PostgresType]:
        found = self._control.execute(
            "SELECT coalesce(item.typname, own.typname), format_type(own.oid, wanted.modifier), "
            "coalesce(item.typtype, own.typtype) = 'e', item.oid IS NOT NULL, wanted.modifier "
            "FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS wanted (oid, modifier, number) "
            "JOIN pg_type own ON own.oid = wanted.oid "
            "LEFT JOIN pg_type item ON item.oid = own.typelem AND own.typcategory = 'A' ORDER BY wanted.number",
            ([oid for oid, _ in described], [modifier for _, modifier in described]),
        ).fetchall()
        return [
            PostgresType(name=name, sql_type=sql_type, is_enum=is_enum, is_array=is_array, modifier=modifier)
            for name, sql_type, is_enum, is_array, modifier in found
        ]

    def _dimensions(self, name: str) -> int:
        """Return how many dimensions the arrays of a column have; PostgreSQL's types do not tell."""
        dimensions = f"array_ndims({quoted(name)})"
        low, high = self.rows(f"SELECT min({dimensions}), max({dimensions}) FROM {self.relation}")[0]
        declared = self._control.execute(
            "SELECT attndims FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s", (self._table, name)
        ).fetchone()
        if low is None:
            return max(declared[0] if declared else 1, 1)
        if low != high:
            raise InvalidInputError(
                f"column {name!r} has arrays of {low} and of {high} dimensions, which no one type of Arrow holds: "
                f"select them as text in a query, e.g. SELECT {quoted(name)}::text AS {quoted(name)}"
            )
        return int(high)

    def _primary_key(self) -> tuple[str, ...]:
        found = self._control.execute(
            "SELECT attname FROM pg_index JOIN LATERAL unnest(indkey) WITH ORDINALITY AS part (number, place) ON true "
            "JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number "
            "WHERE indrelid = to_regclass(%s) AND indisprimary ORDER BY place",
            (self._table,),
        ).fetchall()
        return tuple(name for (name,) in found)


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL, whatever is in it.

    :raises InvalidInputError: for a name that PostgreSQL cannot have.
    """
    if not name or "\0" in name:
        raise InvalidInputError(f"{name!r} is no name of a table or column")
    return '"' + re.sub('"', '""', name) + '"'


def qualified(source: Source) -> str:
    """Return the name of a table as SQL."""
    return f"{quoted(source.schema)}.{quoted(source.table or '')}" if source.schema else quoted(source.table or "")


def _kind(control: Any, source: Source) -> tuple[str, str]:
    """Return the table's name as SQL, and the kind of relation; both are empty for a query."""
    if source.query is not None:
        return "", ""
    name = qualified(source)
    kind = _value(control, "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", (name,))
    if kind is None:
        raise NotFoundError(f"no table or view {source.label!r} in this database, or this user may not use its schema")
    return name, kind if isinstance(kind, str) else kind.decode()


def _value(connection: Any, sql: str, parameters: Sequence[Any] | None = None) -> Any:
    row = connection.execute(sql, parameters).fetchone()
    return row and row[0]
