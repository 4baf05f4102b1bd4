"""PostgreSQL's types, to Arrow and back: every value is what it was, or is named."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from airflow_dataflow.databases.dialects import open_database
from airflow_dataflow.databases.source import Source
from airflow_dataflow.errors import InvalidInputError, UnsupportedError
from tests.services.tables import Tables

pytestmark = pytest.mark.postgres

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
# SQL type, its literal, Arrow type, value in Arrow
GOLDEN = [
    ("smallint", "-32768", pa.int16(), -32768),
    ("integer", "2147483647", pa.int32(), 2147483647),
    ("bigint", "-9223372036854775808", pa.int64(), -(2**63)),
    ("oid", "4294967295", pa.int64(), 4294967295),
    ("numeric(12,3)", "-999999999.999", pa.decimal128(12, 3), Decimal("-999999999.999")),
    ("numeric(38,38)", "0.00000000000000000000000000000000000001", pa.decimal128(38, 38), Decimal("1E-38")),
    ("numeric(3,5)", "0.00999", pa.decimal128(5, 5), Decimal("0.00999")),
    ("numeric(5,-2)", "123400", pa.decimal128(7, 0), Decimal(123400)),
    ("numeric(76,6)", "9" * 70 + ".999999", pa.decimal256(76, 6), Decimal("9" * 70 + ".999999")),
    ("numeric", "12345678901234567890.123456789012345678", pa.decimal128(38, 18),
     Decimal("12345678901234567890.123456789012345678")),
    ("real", "1.17549435e-38", pa.float32(), 1.1754943508222875e-38),
    ("double precision", "5e-324", pa.float64(), 5e-324),
    ("double precision", "'-Infinity'", pa.float64(), -math.inf),
    ("boolean", "true", pa.bool_(), True),
    ("text", r"E'tab\t nl\n cr\r bs\\ \\N q\" é🙂'", pa.string(), 'tab\t nl\n cr\r bs\\ \\N q" é🙂'),
    ("text", "''", pa.string(), ""),
    ("varchar(5)", "'ab '", pa.string(), "ab "),
    ("char(4)", "'x'", pa.string(), "x   "),
    ("name", "'who'", pa.string(), "who"),
    ("bytea", r"'\x005cff0a09'", pa.binary(), b"\x00\\\xff\n\t"),
    ("date", "'9999-12-31'", pa.date32(), date(9999, 12, 31)),
    ("time", "'23:59:59.999999'", pa.time64("us"), time(23, 59, 59, 999999)),
    ("timestamp", "'2026-11-23 01:02:03.000004'", pa.timestamp("us"), datetime(2026, 11, 23, 1, 2, 3, 4)),  # noqa: DTZ001
    ("timestamptz(3)", "'2026-11-23 01:02:03.004+02'", pa.timestamp("us", "UTC"),
     datetime(2026, 11, 22, 23, 2, 3, 4000, UTC)),
    ("uuid", f"'{UUID}'", pa.string(), UUID),
    ("json", """'{"a":  1.50}'""", pa.string(), '{"a":  1.50}'),
    ("jsonb", """'{"a":[1]}'""", pa.string(), '{"a": [1]}'),
    ("mood", "'fine'", pa.string(), "fine"),
    ("inet", "'10.0.0.1/24'", pa.string(), "10.0.0.1/24"),
    ("interval", "'1 mon 2 days 3.5'", pa.string(), "1 mon 2 days 00:00:03.5"),
    ("bit(3)", "'101'", pa.string(), "101"),
    ("positive", "7", pa.int32(), 7),
    ("integer[]", "'{1,NULL,3}'", pa.list_(pa.int32()), [1, None, 3]),
    ("integer[]", "'{}'", pa.list_(pa.int32()), []),
    ("integer[][]", "'{{1,2},{3,NULL}}'", pa.list_(pa.list_(pa.int32())), [[1, 2], [3, None]]),
    ("text[]", r"""'{"a,b",NULL,"q\"x","b\\s","","NULL"}'""", pa.list_(pa.string()),
     ["a,b", None, 'q"x', "b\\s", "", "NULL"]),
    ("numeric(6,2)[]", "'{1.5,NULL}'", pa.list_(pa.decimal128(6, 2)), [Decimal("1.50"), None]),
    ("timestamptz[]", "'{2026-11-23 00:00:00.000001+00}'", pa.list_(pa.timestamp("us", "UTC")),
     [datetime(2026, 11, 23, 0, 0, 0, 1, UTC)]),
    ("bytea[]", r"""'{"\\x00",NULL}'""", pa.list_(pa.binary()), [b"\x00", None]),
    ("uuid[]", f"'{{{UUID}}}'", pa.list_(pa.string()), [UUID]),
    ("mood[]", "'{fine,NULL}'", pa.list_(pa.string()), ["fine", None]),
    ("boolean[][][]", "'{{{t},{f}}}'", pa.list_(pa.list_(pa.list_(pa.bool_()))), [[[True], [False]]]),
]  # fmt: skip


@pytest.fixture
def golden(postgres_tables):
    """Return a database with the table ``golden``: one column per case, a row of values and one of nulls."""
    columns = ", ".join(f"c{number} {case[0]}" for number, case in enumerate(GOLDEN))
    values = ", ".join(f"{case[1]}" for case in GOLDEN)
    nulls = ", ".join("NULL" for _ in GOLDEN)
    postgres_tables.run(
        "CREATE TYPE mood AS ENUM ('bad', 'fine')",
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        f"CREATE TABLE golden (id int PRIMARY KEY, {columns})",
        f"INSERT INTO golden VALUES (1, {values}), (2, {nulls})",
    )
    return postgres_tables


def test_every_type_has_its_equal_in_arrow(golden, read):
    table, misfits = read(golden.url, "golden", "id")
    assert misfits == []
    rows = table.drop(["id"]).to_pylist()
    for number, (sql_type, literal, kind, value) in enumerate(GOLDEN):
        name = f"c{number}"
        assert (table.schema.field(name).type, rows[0][name]) == (kind, value), f"{literal} of {sql_type}"
        assert rows[1][name] is None


def test_a_table_made_from_another_has_its_types_and_values(golden, read, write):
    table, _ = read(golden.url, "golden")
    assert write(golden.url, "copy", table) == 2
    columns = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = '{}'::regclass AND attnum > 0"
    )
    domain = next(f"c{number}" for number, case in enumerate(GOLDEN) if case[0] == "positive")
    before, after = (dict(golden.run(columns.format(name))) for name in ("golden", "copy"))
    assert before | {domain: "integer"} == after
    wide = next(f"c{number}" for number, case in enumerate(GOLDEN) if case[0] == "numeric")
    as_text = [f"{name}::text" for name in before if name != wide]
    select = f"SELECT {', '.join(as_text)}, {wide} FROM"
    assert golden.run(f"{select} golden EXCEPT {select} copy") == []
    assert golden.run(f"{select} copy EXCEPT {select} golden") == []


MOMENTS = ["0044-03-15 BC", "0001-01-01", "9999-12-31", "10000-01-01", "20000-02-29"]


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz", "date[]", "timestamptz[]"])
def test_years_that_python_does_not_know_make_the_round_trip(postgres_tables, read, write, kind):
    element = kind.removesuffix("[]")
    wrap = "ARRAY['{}'::{}]" if kind.endswith("[]") else "'{}'::{}"
    values = ", ".join(f"({wrap.format(moment, element)})" for moment in MOMENTS)
    postgres_tables.run(f"CREATE TABLE t (v {kind})", f"INSERT INTO t VALUES {values}, (NULL)")
    table, misfits = read(postgres_tables.url, "t")
    assert misfits == []
    write(postgres_tables.url, "copy", table)
    assert postgres_tables.difference("t", "copy") == []


@pytest.mark.parametrize(
    ("kind", "literal", "reason"),
    [
        ("numeric(9,2)", "'NaN'", "not_a_number"),
        ("numeric", "'-Infinity'", "infinite"),
        ("numeric", "1e20", "too_many_digits"),
        ("numeric", "1e-19", "too_many_digits"),
        ("numeric(9,2)[]", "'{1,NaN}'", "not_a_number"),
        ("date", "'infinity'", "infinite"),
        ("date", "'-infinity'", "infinite"),
        ("timestamp", "'infinity'", "infinite"),
        ("timestamptz", "'-infinity'", "infinite"),
        ("timestamptz[]", "'{2026-01-01,infinity}'", "infinite"),
        ("timestamp", "'294276-12-31'", "out_of_range"),
        ("time", "'24:00'", "out_of_range"),
    ],
)
def test_a_value_without_an_equal_is_named(postgres_tables, read, kind, literal, reason):
    postgres_tables.run(
        f"CREATE TABLE t (id int, v {kind})",
        f"INSERT INTO t SELECT i, NULL FROM {postgres_tables.series(10)}",
        f"UPDATE t SET v = {literal} WHERE id = 4",
    )
    table, misfits = read(postgres_tables.url, "t", "id")
    assert [(misfit.position, misfit.column, misfit.reason) for misfit in misfits] == [(3, "v", reason)]
    assert table.num_rows == 10


@pytest.mark.parametrize("kind", ["int4range", "numeric(77,0)", "point", "money", "tsvector"])
def test_a_type_without_an_equal_is_named_with_a_cast(postgres_tables, read, kind):
    postgres_tables.run(f"CREATE TABLE t (v {kind})")
    with pytest.raises(UnsupportedError, match=r"column 'v' has type .* SELECT \"v\"::text AS \"v\""):
        read(postgres_tables.url, "t")


def test_arrays_that_have_no_one_type_are_refused(postgres_tables, read):
    postgres_tables.run("CREATE TABLE t (v int[])", "INSERT INTO t VALUES ('{1}'), ('{{1}}')")
    with pytest.raises(InvalidInputError, match="column 'v' has arrays of 1 and of 2 dimensions"):
        read(postgres_tables.url, "t")
    postgres_tables.run("DELETE FROM t", "INSERT INTO t VALUES ('[2:3]={1,2}')")
    with pytest.raises(InvalidInputError, match="arrays that do not start at 1"):
        read(postgres_tables.url, "t")


def test_a_column_that_occurs_twice_is_named(postgres_tables):
    with (
        pytest.raises(InvalidInputError, match="column 'a' occurs twice"),
        open_database(postgres_tables.url).snapshot(Source.parse(None, "SELECT 1 AS a, 2 AS a"), 1),
    ):
        pass


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
            "amount": st.none() | st.decimals(places=6, min_value=-(10**20), max_value=10**20),
            "score": st.none() | st.floats(allow_nan=False),
            "text": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            "data": st.none() | st.binary(),
            "at": st.none() | st.datetimes(timezones=st.just(UTC)),
            "tags": st.none()
            | st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
            "pairs": st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)),
        }
    ),
    min_size=1,
    max_size=20,
)
SCHEMA = pa.schema(
    {
        "whole": pa.int64(),
        "amount": pa.decimal128(38, 6),
        "score": pa.float64(),
        "text": pa.string(),
        "data": pa.binary(),
        "at": pa.timestamp("us", "UTC"),
        "tags": pa.list_(pa.string()),
        "pairs": pa.list_(pa.int32()),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_make_the_round_trip(postgres_tables, read, write, rows):
    table = pa.Table.from_pylist(rows, SCHEMA)
    postgres_tables.run("DROP TABLE IF EXISTS t")
    write(postgres_tables.url, "t", table)
    back, misfits = read(postgres_tables.url, "t")
    assert misfits == []
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.types == table.schema.types


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_encoding_of_a_database_and_of_this_machine_does_not_matter(postgres, read, write, monkeypatch, encoding):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    name = f"test_{uuid.uuid4().hex[:12]}"
    locale = "LC_COLLATE 'C' LC_CTYPE 'C'"
    with postgres.administration() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} ENCODING '{encoding}' {locale} TEMPLATE template0")
    try:
        url = postgres.url.set(database=name).render_as_string(hide_password=False)
        table = pa.table({"größe": ["äöü ß", "\\", None]})
        write(url, "t", table)
        back, misfits = read(url, "t")
        assert (back["größe"].to_pylist(), misfits) == (table["größe"].to_pylist(), [])
        tables = Tables(f"{url}?client_encoding=utf8")
        assert tables.run('SELECT octet_length("größe") FROM t LIMIT 1') == [(5 if encoding == "LATIN1" else 9,)]
    finally:
        with postgres.administration() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    "expression", ["1 / (i - 300000)", "CASE i WHEN 300000 THEN 'x' ELSE '1' END::int", "2147483647 + i / 300000"]
)
def test_a_value_that_cannot_be_computed_is_no_reason_to_try_again(postgres_tables, read, expression):
    postgres_tables.run(
        "CREATE TABLE t AS SELECT i FROM generate_series(1, 300000) AS numbers (i)",
        f"CREATE VIEW v AS SELECT {expression} AS a, repeat('z', 100) AS filler FROM t",
    )
    with pytest.raises(InvalidInputError, match=r"check the query or view|SQLSTATE 22"):
        read(postgres_tables.url, "v")
