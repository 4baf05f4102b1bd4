"""Versions into tables of real databases: all rows or none, each version once, and nothing changed on the way."""

from __future__ import annotations

import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from airflow_dataflow.databases.dialects import Dialect
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import BusyError, InvalidInputError, MissingColumnError, NotFoundError
from airflow_dataflow.ingest.table import ingest_table
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.load import LoadOptions, load_version
from tests.killing import killed_at

AT = datetime(2026, 11, 23, tzinfo=UTC)
TABLE = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", None, "tab\t\\N\n\"q' é"]})


@pytest.fixture
def version(store):
    """Return a function that makes a version with one data file per table."""
    made = []

    def make(*parts):
        made.append(1)
        with store.draft("shop/t", at=AT + timedelta(days=len(made)), fingerprint=f"{len(made):064x}") as draft:
            for number, table in enumerate(parts or (TABLE,)):
                with draft.create(f"data/{number}.parquet") as file:
                    pq.write_table(table, file)
                    file.rows = table.num_rows
            rows = sum(table.num_rows for table in parts or (TABLE,))
            return draft.commit(Rows(rows_in=rows, rows_out=rows)).reference

    return make


@pytest.fixture
def load(store, tables):
    """Return a function that loads a version into a table."""

    def run(reference, table="t", **options):
        return load_version(store, reference, tables.url, table, options=LoadOptions(**options))

    return run


def rows_of(tables, table="t"):
    """Return the rows of a table in order."""
    return tables.run(f"SELECT * FROM {table} ORDER BY 1")


def test_an_absent_table_is_made_with_the_columns_of_the_version(tables, version, load):
    report = load(version(), key=("id",))
    assert rows_of(tables) == [tuple(row.values()) for row in TABLE.to_pylist()]
    assert (report.files, report.bytes_sent > 0, report.bytes_skipped) == (1, True, 0)
    with pytest.raises(InvalidInputError, match="uplicate"):
        load(version(), mode="append")


def test_replace_leaves_only_the_rows_of_the_version_and_keeps_the_table(tables, version, load):
    tables.run("CREATE TABLE t (id bigint PRIMARY KEY, name varchar(20), more int DEFAULT 7)")
    tables.run("INSERT INTO t (id) VALUES (99)")
    reference = version()
    load(reference)
    load(reference)
    assert rows_of(tables) == [(*row.values(), 7) for row in TABLE.to_pylist()]


def test_append_adds_each_version_once(tables, version, load):
    first, second = version(), version()
    load(first, mode="append")
    again = load(first, mode="append")
    assert (again.bytes_sent, again.bytes_skipped > 0) == (0, True)
    load(second, mode="append")
    assert len(rows_of(tables)) == 6
    assert sorted(tables.run("SELECT target, reference FROM dataflow_loads")) == [("t", first), ("t", second)]
    load(first)
    assert load(second, mode="append").bytes_sent
    assert len(rows_of(tables)) == 6


def test_upsert_replaces_rows_by_their_key(tables, version, load):
    tables.run("CREATE TABLE t (id bigint PRIMARY KEY, name varchar(20), more int)")
    tables.run("INSERT INTO t VALUES (2, 'old', 5), (9, 'stays', 6)")
    reference = version()
    load(reference, mode="upsert", key=("id",))
    load(reference, mode="upsert", key=("id",))
    assert rows_of(tables) == [(1, "a", None), (2, None, 5), (3, TABLE["name"][2].as_py(), None), (9, "stays", 6)]


def test_rows_without_a_key_are_refused_for_an_upsert_would_add_them_each_time(tables, version, load):
    tables.run("CREATE TABLE t (id int, name varchar(20))", "CREATE UNIQUE INDEX i ON t (id)")
    reference = version(pa.table({"id": [1, None], "name": ["a", "b"]}))
    with pytest.raises(InvalidInputError, match="the key 'id' is missing in some rows"):
        load(reference, mode="upsert", key=("id",))
    assert rows_of(tables) == []


def test_upsert_writes_a_key_that_the_database_would_count_itself(tables, version, load):
    kind = "int GENERATED ALWAYS AS IDENTITY" if tables.is_postgres else "int AUTO_INCREMENT"
    tables.run(f"CREATE TABLE t (id {kind} PRIMARY KEY, name varchar(20))")
    load(version(pa.table({"id": [5], "name": ["a"]})), mode="upsert", key=("id",))
    assert rows_of(tables) == [(5, "a")]


def test_a_table_that_was_dropped_gets_the_rows_again(tables, version, load):
    reference = version()
    load(reference, mode="append")
    tables.run("DROP TABLE t")
    load(reference, mode="append")
    assert len(rows_of(tables)) == 3


def test_tables_whose_names_differ_by_case_or_accents_each_get_the_version(tables, version, load):
    reference, quote = version(), '"' if tables.is_postgres else "`"
    for table in ("Orders", "orders", "örders"):
        load(reference, table, mode="append")
        assert len(rows_of(tables, f"{quote}{table}{quote}")) == 3


def test_keys_that_differ_by_case_accents_or_blanks_are_different_keys(tables, version, load):
    keys = ["a", "A", "ä", "a "]
    load(version(pa.table({"id": keys})), key=("id",))
    assert sorted(key for (key,) in rows_of(tables)) == sorted(keys)


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_loads_that_begin_at_the_same_moment_do_not_meet(tables, version, load, mode):
    references = [version(pa.table({"id": [number]})) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(2):
            list(pool.map(lambda number: load(references[number], f"t{number}", mode=mode), range(6)))
            list(pool.map(lambda reference: load(reference, mode=mode), references))
    assert len(rows_of(tables)) == (6 if mode == "append" else 1)
    assert [rows_of(tables, f"t{number}") for number in range(6)] == [[(number,)] for number in range(6)]


def test_who_may_not_make_tables_can_load_into_those_that_are_there(tables, version, store):
    reference = version()
    options = LoadOptions(key=("id",))
    load_version(store, reference, tables.url, "t", options=options)
    url, name = sa.make_url(tables.url), f"u{uuid.uuid4().hex[:12]}"
    if tables.is_postgres:
        tables.run(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
        rights = "GRANT SELECT, INSERT, UPDATE, DELETE ON t, dataflow_loads TO"
    else:
        tables.run(f"CREATE USER {name} IDENTIFIED BY 'pw'")
        rights = f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON {url.database}.* TO"
    try:
        tables.run(f"{rights} {name}")
        for mode in ("replace", "append", "upsert"):
            theirs = url.set(username=name, password="pw")
            load_version(store, reference, theirs, "t", options=LoadOptions(mode=mode, key=("id",)))
    finally:
        tables.run(*([f"DROP OWNED BY {name}", f"DROP ROLE {name}"] if tables.is_postgres else [f"DROP USER {name}"]))
    assert len(rows_of(tables)) == 3


def test_upsert_needs_a_key_that_tells_rows_apart(tables, version, load):
    tables.run("CREATE TABLE t (id bigint, name varchar(20))")
    with pytest.raises(InvalidInputError, match="unique"):
        load(version(), mode="upsert", key=("id",))
    tables.run("CREATE UNIQUE INDEX i ON t (id)")
    with pytest.raises(InvalidInputError):
        load(version(TABLE, TABLE), mode="upsert", key=("id",))
    assert rows_of(tables) == []


def test_files_of_earlier_nights_may_lack_a_column_or_hold_a_narrower_type(tables, version, load):
    narrow = pa.table({"id": pa.array([7], pa.int32())})
    load(version(narrow, TABLE))
    assert rows_of(tables)[-1] == (7, None)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("id bigint", MissingColumnError, "table t has no column 'name'"),
        ("id bigint, title varchar(9), name varchar(9), must int NOT NULL", MissingColumnError,
         "the version has no column 'must', which table t needs"),
        ("id bigint, name varchar(9) NOT NULL", InvalidInputError, "name"),
        ("id bigint, name varchar(3)", InvalidInputError, r"'name' has .*\(3\) would change"),
        ("id bigint, name int", InvalidInputError, "[Ii]n(valid|correct).* integer"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused_and_stays_as_it_was(tables, version, load, columns, error, message):
    tables.run(f"CREATE TABLE t ({columns})")
    with pytest.raises(error, match=message):
        load(version())
    assert rows_of(tables) == []


def test_a_number_that_would_be_rounded_is_refused(tables, version, load):
    tables.run("CREATE TABLE t (id smallint)")
    with pytest.raises(InvalidInputError, match=r"[Oo]ut of range"):
        load(version(pa.table({"id": [70_000]})))
    assert rows_of(tables) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("decimal(10,2)", Decimal("1.005")),
        ("decimal(10,2)", 1.005),
        ("integer", 1.5),
        ("double precision", 2**53 + 1),
        ("timestamp(3)", datetime.fromisoformat("2026-11-23T00:00:00.123456")),
        ("time(0)", time(0, 0, 0, 600_000)),
        ("date", datetime.fromisoformat("2026-11-23T12:00:00")),
        ("varchar(3)", "abc "),
    ],
)
def test_no_value_is_rounded_or_cut_off(tables, version, load, kind, value):
    tables.run(f"CREATE TABLE t (v {kind})")
    with pytest.raises(InvalidInputError, match=r"column 'v' has .* would change"):
        load(version(pa.table({"v": [value]})))
    assert rows_of(tables) == []


def test_a_failed_load_leaves_no_table_behind(tables, version, load):
    bad = pa.table({"id": [1, 1], "name": ["a", "b"]})
    with pytest.raises(InvalidInputError):
        load(version(bad), key=("id",))
    with pytest.raises(Exception, match=r"does not exist|doesn't exist"):
        rows_of(tables)


def test_unknown_words_are_explained(version, load):
    with pytest.raises(InvalidInputError, match="mode is 'upsrt'; did you mean 'upsert'"):
        load(version(), mode="upsrt")
    with pytest.raises(InvalidInputError, match="needs a key"):
        load(version(), mode="upsert")
    with pytest.raises(MissingColumnError, match="has no key 'ids'; did you mean 'id'"):
        load(version(), mode="upsert", key=("ids",))


@pytest.mark.parametrize("name", ['x"; DROP TABLE t; --', "x`; DROP TABLE t; --", "x y%s % \" ` '"])
def test_a_name_is_never_more_than_a_name(tables, version, load, name):
    load(version())
    odd = pa.table({name: [1, 2], 'co"l`u%s': ["a", "b"]})
    for mode in ({"mode": "replace"}, {"mode": "append"}, {"mode": "upsert", "key": (name,)}):
        load(version(odd), name, **{"key": (name,), **mode} if mode["mode"] != "append" else {"mode": "replace"})
    assert len(rows_of(tables)) == 3
    quoted = '"' + name.replace('"', '""') + '"' if tables.is_postgres else "`" + name.replace("`", "``") + "`"
    assert tables.run(f"SELECT count(*) FROM {quoted}") == [(2,)]


def test_types_in_a_file_that_are_no_types_are_not_believed(tables, version, load):
    kind = "int); DROP TABLE victim; --"
    metadata = {f"dataflow:sql:{name}".encode(): kind.encode() for name in ("postgresql", "mysql")}
    tables.run("CREATE TABLE victim (a int)")
    load(version(pa.table([[1]], schema=pa.schema([pa.field("id", pa.int64(), metadata=metadata)]))))
    assert rows_of(tables) == [(1,)]
    assert tables.run("SELECT count(*) FROM victim") == [(0,)]


def test_lists_and_structs_become_what_the_database_has_for_them(tables, version, load):
    nested = pa.table({"a": [[1, None], []], "s": [{"x": 1, "y": "é"}, None]})
    load(version(nested))
    found = tables.run("SELECT a, s FROM t")
    if tables.is_postgres:
        assert found == [([1, None], {"x": 1, "y": "é"}), ([], None)]
    else:
        assert found == [("[1,null]", '{"x":1,"y":"é"}'), ("[]", None)]


# faults -----------------------------------------------------------------------------------------


def load_and_die(store_root, url, reference, batches):
    """Load a version, and be killed when some batches have been sent."""
    from airflow_dataflow.databases.dialects._mysql_load import MysqlLoad
    from airflow_dataflow.databases.dialects._postgresql_load import PostgresqlLoad
    from airflow_dataflow.datasets.catalog.catalog import Catalog
    from airflow_dataflow.transfer import load as module

    module._BATCH_ROWS = 100
    store = Store(
        [Tier(name="hot", tier_class="hot", url=f"{store_root}/hot")], Catalog(f"sqlite:///{store_root}/catalog.db")
    )
    left = [batches]
    for kind in (MysqlLoad, PostgresqlLoad):
        original = kind.write if batches else kind.finish

        def step(self, *args, original=original):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return original(self, *args)

        setattr(kind, "write" if batches else "finish", step)
    load_version(store, reference, url, "t", options=LoadOptions(mode="append"))


@pytest.mark.parametrize("batches", [0, 1, 5])
def test_a_load_that_is_killed_leaves_nothing_and_a_second_one_adds_every_row_once(
    tables, version, load, tmp_path, batches
):
    rows = pa.table({"id": pa.array(range(1000), pa.int64()), "name": ["x" * 100] * 1000})
    tables.run("CREATE TABLE t (id bigint PRIMARY KEY, name varchar(100))", "INSERT INTO t VALUES (-1, 'before')")
    reference = version(rows)
    assert killed_at(10**9, load_and_die, str(tmp_path), tables.url, reference, batches)
    assert rows_of(tables) == [(-1, "before")]
    load(reference, mode="append")
    load(reference, mode="append")
    assert tables.run("SELECT count(*), min(id), max(id) FROM t") == [(1001, -1, 999)]


def test_a_table_that_is_locked_by_others_is_a_reason_to_try_again(tables, version, load, monkeypatch):
    monkeypatch.setattr(Dialect, "lock_seconds", 1)
    load(version())
    with tables.connection("READ COMMITTED") as other:
        other.exec_driver_sql("UPDATE t SET name = 'mine' WHERE id = 1")
        with pytest.raises(BusyError, match=r"(?i)lock"):
            load(version())
    assert rows_of(tables)[0] == (1, "a")


def test_an_absent_schema_is_named(version, load):
    with pytest.raises((NotFoundError, InvalidInputError), match="nowhere"):
        load(version(), "nowhere.t")


# the whole way ----------------------------------------------------------------------------------


def test_two_hundred_thousand_rows_make_the_round_trip_without_a_changed_value(tables, store, load):
    source = tables.series(200_000)
    if tables.is_postgres:
        tables.run(
            "CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(24,6), day date, at timestamptz, tags text[], "
            "scores numeric(8,3)[], data bytea, flag boolean, big bigint)",
            "INSERT INTO t SELECT i, CASE WHEN i % 7 > 0 THEN i * 1234567.890123 - 1e14 END, "
            "'1900-01-01'::date + i % 90000, "
            "'2026-11-23'::timestamptz + i * interval '1.000003 s', "
            "CASE WHEN i % 5 > 0 THEN ARRAY[md5(i::text), NULL, 'q\"\\' || i] END, "
            "CASE i % 3 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[i / 8.0, NULL] END, decode(md5(i::text), 'hex'), "
            f"i % 2 = 0, CASE WHEN i % 11 > 0 THEN 9007199254740993 + i END FROM {source}",
        )
    else:
        tables.run(
            "CREATE TABLE t (id bigint PRIMARY KEY, amount decimal(24,6), day date, at datetime(6), tags json, "
            "data varbinary(16), flag bool, big bigint unsigned)",
            "INSERT INTO t SELECT i, IF(i % 7 > 0, i * 1234567.890123 - 1e14, NULL), "
            "date_add('1900-01-01', INTERVAL i % 90000 DAY), date_add('2026-11-23', INTERVAL i * 1000003 MICROSECOND), "
            "IF(i % 5 > 0, json_array(md5(i), NULL, concat('q\"\\\\', i)), NULL), unhex(md5(i)), i % 2 = 0, "
            f"IF(i % 11 > 0, 18446744073709551615 - i, NULL) FROM {source}",
        )
    manifest = ingest_table(store, tables.url, "t", "shop/t", at=AT)
    assert (manifest.rows_in, manifest.rows_quarantined) == (200_000, 0)
    load(manifest.reference, "back", key=("id",))
    assert tables.run("SELECT count(*) FROM back") == [(200_000,)]
    assert tables.difference("t", "back") == []


def test_decimals_dates_and_bytes_arrive_as_they_are(tables, version, load):
    table = pa.table(
        {
            "amount": pa.array([Decimal("-99999999999999999999.123456")], pa.decimal128(26, 6)),
            "day": [date(2026, 11, 23)],
            "at": pa.array([datetime(2026, 11, 23, 1, 2, 3, 4, UTC)], pa.timestamp("us", "UTC")),
            "data": [b"\x00\\\n\t\xff"],
            "flag": [True],
            "big": pa.array([2**64 - 1], pa.uint64()),
            "score": [0.1],
            "none": pa.nulls(1),
        }
    )
    load(version(table))
    ((amount, day, at, data, flag, big, score, none),) = rows_of(tables)
    assert (amount, day, bytes(data), bool(flag), int(big), score, none) == (
        Decimal("-99999999999999999999.123456"), date(2026, 11, 23), b"\x00\\\n\t\xff", True, 2**64 - 1, 0.1, None
    )  # fmt: skip
    assert at.replace(tzinfo=UTC) == datetime(2026, 11, 23, 1, 2, 3, 4, UTC)
