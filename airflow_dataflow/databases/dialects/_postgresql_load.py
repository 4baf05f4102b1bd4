"""Rows into PostgreSQL by COPY, in one transaction together with the table and the record of the load."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import pyarrow as pa

from airflow_dataflow.databases.columns import SQL_TYPE
from airflow_dataflow.databases.dialects import LOADS, Load
from airflow_dataflow.databases.fitting import Room, check_all, rooms
from airflow_dataflow.databases.source import Source
from airflow_dataflow.databases.text import Style, lines, plain_type, type_names

_NAMES = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_float16, "real"),
    (pa.types.is_float32, "real"),
    (pa.types.is_float64, "double precision"),
    (pa.types.is_uint64, "numeric(20,0)"),
    (pa.types.is_uint32, "bigint"),
    (pa.types.is_int64, "bigint"),
    (pa.types.is_uint16, "integer"),
    (pa.types.is_int32, "integer"),
    (pa.types.is_integer, "smallint"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (pa.types.is_string, "text"),
    (pa.types.is_null, "text"),
    (pa.types.is_binary, "bytea"),
    (pa.types.is_struct, "jsonb"),
    (pa.types.is_map, "jsonb"),
)
_SAFE_TYPE = re.compile(r"[a-z_][a-z0-9_ ]*(\([0-9]+(,-?[0-9]+)?\))?( with(out)? time zone)?(\[\])*")
_BOUNDS = re.compile(r"\([0-9,-]+\)")


def make_loads(connection: Any, table: Source) -> None:
    """Make the table of loads beside a target unless it is there; who may not make tables needs it to be there.

    :param connection: in no transaction: others see the table at once, or they would wait for a whole load.
    """
    import psycopg

    from airflow_dataflow.databases.dialects.postgresql import qualified

    loads = qualified(Source(table=LOADS, schema=table.schema))
    if connection.execute("SELECT to_regclass(%s)", (loads,)).fetchone()[0] is None:
        # Two that make it at the same moment break the rules of PostgreSQL's own catalog.
        with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {loads} (target text, reference text, "
                "loaded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (target, reference))".encode()
            )


class PostgresqlLoad(Load):
    """One transaction on one connection.

    :param connection: in a transaction already.
    :param table: the target.
    :param stack: closes what is still open before the transaction ends.
    """

    def __init__(self, connection: Any, table: Source, stack: ExitStack) -> None:
        from airflow_dataflow.databases.dialects.postgresql import qualified, quoted

        self._connection = connection
        self._table = table
        self._stack = stack
        self._quoted = quoted
        self._target = qualified(table)
        self._loads = qualified(Source(table=LOADS, schema=table.schema))
        self._copy: Any = None
        self._copying = stack.enter_context(ExitStack())
        self._style = Style(bytes_prefix="\\x", zone_suffix="+00", not_a_number=True)
        self._rooms: Mapping[str, Room] = {}
        self._columns: tuple[str, ...] = ()
        self._key: tuple[str, ...] = ()
        self._written = 0

    def columns(self) -> dict[str, bool] | None:
        """Ask the catalog; of several loads that find no table, one goes on and the others wait for it."""
        found = self._described()
        if not found:
            self._run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"dataflow load {self._target}",))
            found = self._described()
        return found or None

    def create(self, schema: pa.Schema, key: Sequence[str]) -> None:
        """Make the table; where a column came from PostgreSQL, with the type that it had there."""
        known = {item.name: name for item in schema if (name := self._known_type(item))}
        names = type_names(schema, _name_of, known)
        parts = [f"{self._quoted(name)} {kind}" for name, kind in names.items()]
        if key:
            parts.append(f"PRIMARY KEY ({self._list(key)})")
        self._run(f"CREATE TABLE {self._target} ({', '.join(parts)})")

    def claim(self, reference: str, *, forget_others: bool) -> bool:
        """Insert a row; who inserts the same one waits until this transaction has ended."""
        loads = self._loads.replace("%", "%%")  # or the driver takes it for the place of a parameter
        if forget_others:
            self._run(f"DELETE FROM {loads} WHERE target = %s", (self._table.table,))
        done = self._run(
            f"INSERT INTO {loads} (target, reference) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (self._table.table, reference),
        )
        return bool(done.rowcount)

    def clear(self) -> None:
        """Delete the rows; others see the old ones until the transaction ends."""
        self._run(f"LOCK TABLE {self._target} IN SHARE ROW EXCLUSIVE MODE")
        self._run(f"DELETE FROM {self._target}")

    def begin(self, schema: pa.Schema, key: Sequence[str]) -> None:
        """Start COPY, into a table of this transaction when rows shall replace others."""
        self._columns, self._key = tuple(schema.names), tuple(key)
        found = self._run(
            "SELECT attname, typcategory = 'A', CASE WHEN typtype = 'd' THEN format_type(typbasetype, typtypmod) "
            "ELSE format_type(atttypid, atttypmod) END "
            "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid WHERE attrelid = to_regclass(%s) AND attnum > 0",
            (self._target,),
        ).fetchall()
        arrays = frozenset(name for name, is_array, _ in found if is_array)
        self._style = Style(bytes_prefix="\\x", zone_suffix="+00", not_a_number=True, arrays=arrays)
        self._rooms = rooms({name: kind for name, _, kind in found}, second_digits=6)
        into = self._target
        if key:
            into = "pg_temp.dataflow_rows"
            self._run(
                f"CREATE TEMPORARY TABLE dataflow_rows ON COMMIT DROP AS "
                f"SELECT {self._list(self._columns)} FROM {self._target} WITH NO DATA"
            )
        cursor = self._copying.enter_context(self._connection.cursor())
        self._copy = self._copying.enter_context(cursor.copy(f"COPY {into} ({self._list(self._columns)}) FROM STDIN"))

    def write(self, batch: pa.RecordBatch) -> None:
        """Send lines."""
        check_all(batch, self._rooms)
        self._copy.write(lines(batch, self._style))
        self._written += batch.num_rows

    def finish(self) -> int:
        """End COPY, and bring the rows to the target when they went aside."""
        self._copying.close()
        if self._key:
            others = [name for name in self._columns if name not in self._key]
            change = ", ".join(f"{self._quoted(name)} = EXCLUDED.{self._quoted(name)}" for name in others)
            self._run(
                f"INSERT INTO {self._target} ({self._list(self._columns)}) OVERRIDING SYSTEM VALUE "
                f"SELECT {self._list(self._columns)} FROM pg_temp.dataflow_rows "
                f"ON CONFLICT ({self._list(self._key)}) DO " + (f"UPDATE SET {change}" if change else "NOTHING")
            )
        return self._written

    def _described(self) -> dict[str, bool]:
        found = self._run(
            "SELECT attname, attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (self._target,),
        )
        return dict(found.fetchall())

    def _known_type(self, item: pa.Field) -> str | None:
        name = ((item.metadata or {}).get(SQL_TYPE + b"postgresql") or b"").decode()
        # What a file says becomes part of a statement, so it has to be the name of a type and nothing else.
        if not _SAFE_TYPE.fullmatch(name):
            return None
        plain = _BOUNDS.sub("", name)
        found = self._run("SELECT to_regtype(%s)", (plain,)).fetchone()
        return name if found[0] is not None else None

    def _list(self, names: Sequence[str]) -> str:
        return ", ".join(self._quoted(name) for name in names)

    def _run(self, statement: str, parameters: Sequence[Any] | None = None) -> Any:
        return self._connection.execute(statement.encode(), parameters)


def _name_of(kind: pa.DataType) -> str | None:
    if pa.types.is_list(kind):
        inner = _name_of(plain_type(kind.value_type))
        return inner and (inner if inner.endswith("[]") and pa.types.is_list(kind.value_type) else f"{inner}[]")
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    return next((name for test, name in _NAMES if test(kind)), None)
