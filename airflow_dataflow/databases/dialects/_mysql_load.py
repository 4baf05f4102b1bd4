"""Rows into MySQL and MariaDB by LOAD DATA LOCAL, or by long INSERTs where the server forbids that."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from airflow_dataflow.databases.columns import SQL_TYPE
from airflow_dataflow.databases.dialects import LOADS, Load
from airflow_dataflow.databases.dialects._mysql_errors import NO_LOCAL_FILES
from airflow_dataflow.databases.fitting import Room, check_all, rooms
from airflow_dataflow.databases.source import Source
from airflow_dataflow.databases.text import Style, lines, text_of, type_names
from airflow_dataflow.errors import BusyError, InvalidInputError

_NAMES = (
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_float16, "FLOAT"),
    (pa.types.is_float32, "FLOAT"),
    (pa.types.is_float64, "DOUBLE"),
    (pa.types.is_uint64, "BIGINT UNSIGNED"),
    (pa.types.is_uint32, "INT UNSIGNED"),
    (pa.types.is_uint16, "SMALLINT UNSIGNED"),
    (pa.types.is_uint8, "TINYINT UNSIGNED"),
    (pa.types.is_int64, "BIGINT"),
    (pa.types.is_int32, "INT"),
    (pa.types.is_int16, "SMALLINT"),
    (pa.types.is_int8, "TINYINT"),
    (pa.types.is_date, "DATE"),
    (pa.types.is_time, "TIME(6)"),
    (pa.types.is_timestamp, "DATETIME(6)"),
    (pa.types.is_string, "LONGTEXT"),
    (pa.types.is_null, "LONGTEXT"),
    (pa.types.is_binary, "LONGBLOB"),
    (pa.types.is_nested, "JSON"),
)
_SAFE_TYPE = re.compile(
    r"(tinyint|smallint|mediumint|int|bigint)( unsigned)?|decimal\([0-9]+,[0-9]+\)|float|double|bit\([0-9]+\)|year|date"
    r"|(time|datetime|timestamp)\([0-6]\)|(char|varchar|binary|varbinary)\([0-9]+\)|(medium|long)?(text|blob)|json"
)
_KEY_TYPES = {"text": "VARCHAR(255)", "blob": "VARBINARY(255)"}
_EXACT = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb4_bin")
"""Collations that tell most values apart, those of MariaDB, of MySQL, and of all."""
_MOST_DIGITS, _MOST_SCALE = 65, 30
_BINARY_TYPES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_STYLE = Style(bytes_prefix="", zone_suffix="", not_a_number=False)
_SHOWN = 3
_ROWS = "dataflow_rows"
_OTHERS_SECONDS = 600


class MysqlLoad(Load):
    """One transaction on one connection.

    :param connection: does not commit by itself.
    :param table: the target.
    """

    def __init__(self, connection: Any, table: Source) -> None:
        from airflow_dataflow.databases.dialects.mysql import qualified, quoted

        self._connection = connection
        self._table = table
        self._quoted = quoted
        self._target = qualified(table)
        self._loads = _percent(qualified(Source(table=LOADS, schema=table.schema)))
        self._made_target = False
        self._kinds: dict[str, str] = {}
        self._rooms: Mapping[str, Room] = {}
        self._columns: tuple[str, ...] = ()
        self._key: tuple[str, ...] = ()
        self._into = self._target
        self._written = 0
        self._by_file = True
        self._wait_for_others()
        # Making a table ends the transaction, so this one comes first; an empty one tells nothing.
        if not self._columns_of(LOADS):
            self._run(
                f"CREATE TABLE IF NOT EXISTS {qualified(Source(table=LOADS, schema=table.schema))} "
                "(target VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, "
                "reference VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin, "
                "loaded_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (target, reference)) ENGINE=InnoDB"
            )

    def columns(self) -> dict[str, bool] | None:
        """Ask the information schema."""
        found = self._columns_of(self._table.table or "")
        self._kinds = {name: kind.lower() for name, kind, *_ in found}
        self._rooms = rooms({name: sql_type for name, _, sql_type, *_ in found}, second_digits=0)
        return {
            name: null == "NO" and default is None and not extra for name, *_, null, default, extra in found
        } or None

    def create(self, schema: pa.Schema, key: Sequence[str]) -> None:
        """Make the table; where a column came from MySQL, with the type that it had there."""
        known = {item.name: name for item in schema if (name := _known_type(item))}
        names = type_names(schema, _name_of, known)
        parts = []
        for name, kind in names.items():
            fitting = self._key_type(kind) if name in key else kind
            parts.append(f"{self._quoted(name)} {fitting} {'NOT NULL' if name in key else 'NULL'}")
        if key:
            parts.append(f"PRIMARY KEY ({self._list(key)})")
        self._run(f"CREATE TABLE {self._target} ({', '.join(parts)}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
        self._made_target = True
        self.columns()

    def claim(self, reference: str, *, forget_others: bool) -> bool:
        """Insert a row; who inserts the same one waits until this transaction has ended."""
        if forget_others:
            self._run(f"DELETE FROM {self._loads} WHERE target = %s", (self._table.table,))
        cursor = self._run(
            f"INSERT IGNORE INTO {self._loads} (target, reference) VALUES (%s, %s)",
            (self._table.table, reference),
        )
        return bool(cursor.rowcount)

    def clear(self) -> None:
        """Delete the rows; others see the old ones until the transaction ends."""
        self._run(f"DELETE FROM {self._target}")

    def begin(self, schema: pa.Schema, key: Sequence[str]) -> None:
        """Make a table of this connection alone when rows shall replace others."""
        self._columns, self._key = tuple(schema.names), tuple(key)
        if not key:
            return
        self._check_unique(key)
        self._into = self._quoted(_ROWS)
        self._run(
            f"CREATE TEMPORARY TABLE {self._into} (UNIQUE ({self._list(key)})) AS "
            f"SELECT {self._list(self._columns)} FROM {self._target} LIMIT 0"
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Send lines, and accept no change of a value that the server would make."""
        check_all(batch, self._rooms)
        if self._by_file:
            try:
                self._load(batch)
            except Exception as error:
                if not error.args or error.args[0] not in NO_LOCAL_FILES:
                    raise
                self._by_file = False
        if not self._by_file:
            self._insert(batch)
        self._written += batch.num_rows

    def finish(self) -> int:
        """Bring the rows to the target when they went aside."""
        if self._key:
            others = [name for name in self._columns if name not in self._key] or [self._key[0]]
            change = ", ".join(f"{self._quoted(name)} = VALUES({self._quoted(name)})" for name in others)
            self._run(
                f"INSERT INTO {self._target} ({self._list(self._columns)}) "
                f"SELECT {self._list(self._columns)} FROM {self._into} ON DUPLICATE KEY UPDATE {change}"
            )
        return self._written

    def undo(self) -> None:
        """Take back all of it, also a table that this load has made; the connection may be broken."""
        import pymysql

        with suppress(pymysql.MySQLError, OSError):
            self._connection.rollback()
            if self._made_target:
                self._run(f"DROP TABLE IF EXISTS {self._target}")

    def _wait_for_others(self) -> None:
        """Keep other loads from this table until the connection ends.

        Locks of rows do not tell a load that deletes from one that has yet to add; and a table that one load makes,
        and drops when it fails, must not have rows of another.
        """
        (database,) = self._run("SELECT COALESCE(%s, DATABASE())", (self._table.schema,)).fetchone()
        # The name counts for the whole server, and has to be short.
        name = hashlib.sha256(f"dataflow load {database}.{self._table.table}".encode()).hexdigest()[:32]
        if self._run("SELECT GET_LOCK(%s, %s)", (name, _OTHERS_SECONDS)).fetchone() != (1,):
            raise BusyError(f"another load of {self._table.label} has not ended for {_OTHERS_SECONDS} seconds")

    def _columns_of(self, table: str) -> Sequence[Any]:
        cursor = self._run(
            "SELECT column_name, data_type, column_type, is_nullable, column_default, extra "
            "FROM information_schema.columns "
            "WHERE table_name = %s AND table_schema = COALESCE(%s, DATABASE()) ORDER BY ordinal_position",
            (table, self._table.schema),
        )
        found: Sequence[Any] = cursor.fetchall()
        return found

    def _key_type(self, kind: str) -> str:
        """Return the type for a column of a key, by which rows differ whose values do, be it by case or by a blank."""
        kind = next((short for end, short in _KEY_TYPES.items() if kind.lower().endswith(end)), kind)
        if not kind.lower().startswith(("char", "varchar")):
            return kind
        found = self._run(
            "SELECT collation_name FROM information_schema.collations WHERE collation_name IN %s", (_EXACT,)
        ).fetchall()
        known = {name for (name,) in found}
        return f"{kind} CHARACTER SET utf8mb4 COLLATE {next(name for name in _EXACT if name in known)}"

    def _load(self, batch: pa.RecordBatch) -> None:
        names, sets = [], []
        for number, name in enumerate(self._columns):
            change = self._change(name, f"@v{number}")
            names.append(self._quoted(name) if change is None else f"@v{number}")
            if change is not None:
                sets.append(f"{self._quoted(name)} = {change}")
        assigned = f" SET {', '.join(sets)}" if sets else ""
        with tempfile.NamedTemporaryFile(prefix="dataflow-load-") as file:
            file.write(lines(batch, _STYLE))
            file.flush()
            cursor = self._run(
                f"LOAD DATA LOCAL INFILE %s INTO TABLE {_percent(self._into)} CHARACTER SET utf8mb4 "
                "FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' "
                + _percent(f"({', '.join(names)}){assigned}"),
                (file.name,),
            )
        self._check(cursor, batch.num_rows)

    def _insert(self, batch: pa.RecordBatch) -> None:
        texts = [text_of(column, item, _STYLE) for item, column in zip(batch.schema, batch.columns, strict=True)]
        values = ", ".join(self._change(name, "%s") or "%s" for name in self._columns)
        target = _percent(f"{self._into} ({self._list(self._columns)})")
        statement = f"INSERT INTO {target} VALUES ({values})"
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, list(zip(*(text.to_pylist() for text in texts), strict=True)))

    def _change(self, name: str, value: str) -> str | None:
        """Return the SQL that makes a column's value of its text, ``None`` where the server does that by itself."""
        kind = self._kinds.get(name, "")
        if kind in _BINARY_TYPES:
            return f"UNHEX({value})"
        return f"CAST({value} AS UNSIGNED)" if kind == "bit" else None

    def _check(self, cursor: Any, rows: int) -> None:
        """Raise when the server changed or left out a value; with LOCAL it only warns of that."""
        if not cursor.warning_count and cursor.rowcount == rows:
            return
        found = self._run(f"SHOW WARNINGS LIMIT {_SHOWN}").fetchall()
        reasons = "; ".join(str(text) for _, _, text in found) or f"{rows - cursor.rowcount} rows were left out"
        raise InvalidInputError(f"{self._table.label}: {reasons}: values have to fit the columns as they are")

    def _check_unique(self, key: Sequence[str]) -> None:
        found = self._run(
            "SELECT index_name, column_name FROM information_schema.statistics WHERE non_unique = 0 "
            "AND table_name = %s AND table_schema = COALESCE(%s, DATABASE())",
            (self._table.table, self._table.schema),
        ).fetchall()
        indexes: dict[str, set[str]] = {}
        for index, column in found:
            indexes.setdefault(index, set()).add(column)
        if set(key) not in indexes.values():
            raise InvalidInputError(
                f"{self._table.label} has no primary key or unique index on ({', '.join(key)}): "
                "without one rows cannot replace others"
            )

    def _list(self, names: Sequence[str]) -> str:
        return ", ".join(self._quoted(name) for name in names)

    def _run(self, statement: str, parameters: Sequence[Any] | None = None) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement, parameters)
        return cursor


def _percent(names: str) -> str:
    """Return names so that the driver takes no sign in them for the place of a parameter."""
    return names.replace("%", "%%")


def _known_type(item: pa.Field) -> str | None:
    name = ((item.metadata or {}).get(SQL_TYPE + b"mysql") or b"").decode()
    # What a file says becomes part of a statement, so it has to be the name of a type and nothing else.
    return name if _SAFE_TYPE.fullmatch(name) else None


def _name_of(kind: pa.DataType) -> str | None:
    if pa.types.is_decimal(kind):
        fits = kind.precision <= _MOST_DIGITS and kind.scale <= _MOST_SCALE
        return f"DECIMAL({kind.precision},{kind.scale})" if fits else None
    return next((name for test, name in _NAMES if test(kind)), None)
