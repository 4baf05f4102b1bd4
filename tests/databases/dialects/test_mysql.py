"""MariaDB's types, to Arrow and back: every value is what it was, or is named."""

from __future__ import annotations

import ssl
from datetime import UTC, date, datetime, time
from decimal import Decimal

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from airflow_dataflow.databases.dialects import open_database
from airflow_dataflow.databases.dialects._mysql_connect import tls_context
from airflow_dataflow.databases.source import Source
from airflow_dataflow.errors import InvalidInputError, UnsupportedError

pytestmark = pytest.mark.mariadb

# SQL type, its literal, Arrow type, value in Arrow
GOLDEN = [
    ("tinyint(1)", "-128", pa.int8(), -128),
    ("tinyint unsigned", "255", pa.uint8(), 255),
    ("smallint", "-32768", pa.int16(), -32768),
    ("mediumint unsigned", "16777215", pa.uint32(), 16777215),
    ("int unsigned", "4294967295", pa.uint32(), 4294967295),
    ("bigint", "-9223372036854775808", pa.int64(), -(2**63)),
    ("bigint unsigned", "18446744073709551615", pa.uint64(), 2**64 - 1),
    ("decimal(20,4)", "-9999999999999999.9999", pa.decimal128(20, 4), Decimal("-9999999999999999.9999")),
    ("decimal(65,30)", "-" + "9" * 35 + "." + "9" * 30, pa.decimal256(65, 30),
     Decimal("-" + "9" * 35 + "." + "9" * 30)),
    ("decimal(10,0) unsigned", "9999999999", pa.decimal128(10, 0), Decimal(9999999999)),
    ("float", "16777215", pa.float32(), 16777215.0),
    ("float", "1.1", pa.float32(), 1.100000023841858),
    ("double", "5e-324", pa.float64(), 5e-324),
    ("double", "0.1", pa.float64(), 0.1),
    ("bit(1)", "b'1'", pa.bool_(), True),
    ("bit(33)", "b'100000000000000000000000000000001'", pa.uint64(), 2**32 + 1),
    ("year", "1901", pa.int16(), 1901),
    ("date", "'9999-12-31'", pa.date32(), date(9999, 12, 31)),
    ("time(6)", "'23:59:59.999999'", pa.time64("us"), time(23, 59, 59, 999999)),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
    ("timestamp(3) null", "'2026-11-23 01:02:03.004'", pa.timestamp("us", "UTC"),
     datetime(2026, 11, 23, 1, 2, 3, 4000, UTC)),
    ("char(4)", "'ab'", pa.string(), "ab"),
    ("varchar(20)", "''", pa.string(), ""),
    ("varchar(20)", "'é🙂'", pa.string(), "é🙂"),
    ("varchar(20) character set latin1", "'é'", pa.string(), "é"),
    ("text", r"'tab\t nl\n cr\r bs\\ \\N q\" '''", pa.string(), "tab\t nl\n cr\r bs\\ \\N q\" '"),
    ("longtext", "'NULL'", pa.string(), "NULL"),
    ("json", """'{"a":  1.50}'""", pa.string(), '{"a":  1.50}'),
    ("varbinary(10)", r"x'005cff0a09'", pa.binary(), b"\x00\\\xff\n\t"),
    ("binary(4)", "x'0a'", pa.binary(), b"\n\0\0\0"),
    ("longblob", "''", pa.binary(), b""),
    ("enum('bad','fine')", "'fine'", pa.string(), "fine"),
    ("set('x','y')", "'x,y'", pa.string(), "x,y"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("inet6", "'::1'", pa.string(), "::1"),
]  # fmt: skip


@pytest.fixture
def golden(mariadb_tables):
    """Return a database with the table ``golden``: one column per case, a row of values and one of nulls."""
    columns = ", ".join(f"c{number} {case[0]}" for number, case in enumerate(GOLDEN))
    values = ", ".join(case[1] for case in GOLDEN)
    mariadb_tables.run(
        f"CREATE TABLE golden (id int PRIMARY KEY, {columns})",
        "SET time_zone = '+00:00'",
        f"INSERT INTO golden VALUES (1, {values}), (2, {', '.join('NULL' for _ in GOLDEN)})",
    )
    return mariadb_tables


def test_every_type_has_its_equal_in_arrow(golden, read):
    table, misfits = read(golden.url, "golden", "id")
    assert misfits == []
    rows = table.drop(["id"]).to_pylist()
    for number, (sql_type, literal, kind, value) in enumerate(GOLDEN):
        name = f"c{number}"
        assert (table.schema.field(name).type, rows[0][name]) == (kind, value), f"{literal} of {sql_type}"
        assert rows[1][name] is None


@pytest.mark.parametrize("local_files", ["ON", "OFF"])
def test_a_table_made_from_another_has_its_values(golden, read, write, mariadb, local_files):
    table, _ = read(golden.url, "golden")
    with mariadb.administration() as connection:
        connection.exec_driver_sql(f"SET GLOBAL local_infile = {local_files}")
    try:
        assert write(golden.url, "copied", table) == 2
    finally:
        with mariadb.administration() as connection:
            connection.exec_driver_sql("SET GLOBAL local_infile = ON")
    assert golden.difference("golden", "copied") == []
    kinds = dict(golden.run(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = database() AND table_name = 'copied'"
    ))  # fmt: skip
    alike = {
        "uuid": "char",
        "inet6": "char",
        "enum('bad','fine')": "varchar",
        "set('x','y')": "varchar",
        "json": "longtext",
    }
    for number, case in enumerate(GOLDEN):
        assert kinds[f"c{number}"] == alike.get(case[0], case[0].split("(")[0].split(" ")[0])


@pytest.mark.parametrize(
    ("kind", "literal", "reason"),
    [
        ("date", "'0000-00-00'", "zero_date"),
        ("date", "'2026-00-23'", "zero_date"),
        ("datetime", "'2026-11-00 00:00:00'", "zero_date"),
        ("timestamp null", "0", "zero_date"),
        ("time", "'24:00:00'", "out_of_range"),
        ("time(3)", "'-00:00:00.5'", "out_of_range"),
    ],
)
def test_a_value_without_an_equal_is_named(mariadb_tables, read, kind, literal, reason):
    mariadb_tables.run(
        f"CREATE TABLE t (id int, v {kind})",
        f"INSERT INTO t SELECT i, NULL FROM {mariadb_tables.series(10)}",
        "SET sql_mode = ''",
        f"UPDATE t SET v = {literal} WHERE id = 4",
    )
    table, misfits = read(mariadb_tables.url, "t", "id")
    assert [(misfit.position, misfit.column, misfit.reason) for misfit in misfits] == [(3, "v", reason)]
    assert table.num_rows == 10


def test_a_type_without_an_equal_is_named_with_a_cast(mariadb_tables, read):
    mariadb_tables.run("CREATE TABLE t (v point)")
    with pytest.raises(UnsupportedError, match=r"column 'v' has a type .* SELECT ST_AsText\(`v`\)"):
        read(mariadb_tables.url, "t")


def test_several_readers_see_one_moment(mariadb_tables):
    mariadb_tables.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    with open_database(mariadb_tables.url).snapshot(Source.parse("t"), 3) as snapshot:
        mariadb_tables.run("INSERT INTO t VALUES (3)")
        counts = [
            sum(batch.num_rows for batch in snapshot.batches("SELECT id FROM t", reader, snapshot.columns))
            for reader in range(snapshot.readers)
        ]
    assert counts == [2, 2, 2]


def test_one_reader_is_left_to_a_user_who_may_not_lock(mariadb_tables, mariadb):
    mariadb_tables.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    url = mariadb.url.set(username="onlooker", password="only", database=mariadb_tables.url.rpartition("/")[2])
    with mariadb.administration() as connection:
        connection.exec_driver_sql("CREATE USER onlooker@'127.0.0.1' IDENTIFIED BY 'only'")
        connection.exec_driver_sql(f"GRANT SELECT ON {url.database}.* TO onlooker@'127.0.0.1'")
    try:
        with open_database(url).snapshot(Source.parse("t"), 3) as snapshot:
            assert (snapshot.readers, snapshot.key) == (1, ("id",))
    finally:
        with mariadb.administration() as connection:
            connection.exec_driver_sql("DROP USER onlooker@'127.0.0.1'")


@pytest.mark.parametrize(
    ("options", "verified"),
    [
        ({}, None),
        ({"ssl_mode": "DISABLED", "ssl": "true"}, None),
        ({"ssl": "true"}, (ssl.CERT_REQUIRED, True)),
        ({"ssl_mode": "VERIFY_IDENTITY"}, (ssl.CERT_REQUIRED, True)),
        ({"ssl_mode": "verify_ca"}, (ssl.CERT_REQUIRED, False)),
        ({"ssl": "true", "ssl_check_hostname": "False"}, (ssl.CERT_REQUIRED, False)),
        ({"ssl_mode": "REQUIRED"}, (ssl.CERT_NONE, False)),
    ],
)
def test_who_asks_for_tls_gets_a_verified_server_unless_told_otherwise(options, verified):
    context = tls_context(options)
    assert (context and (context.verify_mode, context.check_hostname)) == verified


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ssl_mode": "VERIFY"}, "ssl_mode is 'VERIFY'"),
        ({"ssl_ca": "/nowhere/ca.pem"}, "TLS files of the connection cannot be read"),
    ],
)
def test_wrong_tls_options_are_explained(options, message):
    with pytest.raises(InvalidInputError, match=message):
        tls_context(options)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
            "large": st.none() | st.integers(0, 2**64 - 1),
            "amount": st.none() | st.decimals(places=6, min_value=-(10**20), max_value=10**20),
            "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "text": st.none() | TEXT,
            "data": st.none() | st.binary(),
            "at": st.none() | st.datetimes(),
            "day": st.none() | st.dates(),
            "clock": st.none() | st.times(),
        }
    ),
    min_size=1,
    max_size=20,
)
SCHEMA = pa.schema(
    {
        "whole": pa.int64(),
        "large": pa.uint64(),
        "amount": pa.decimal128(38, 6),
        "score": pa.float64(),
        "text": pa.string(),
        "data": pa.binary(),
        "at": pa.timestamp("us"),
        "day": pa.date32(),
        "clock": pa.time64("us"),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_make_the_round_trip(mariadb_tables, read, write, rows):
    table = pa.Table.from_pylist(rows, SCHEMA)
    mariadb_tables.run("DROP TABLE IF EXISTS t")
    write(mariadb_tables.url, "t", table)
    back, misfits = read(mariadb_tables.url, "t")
    assert misfits == []
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.types == table.schema.types
