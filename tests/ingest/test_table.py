"""Tables of real databases to versions: one state of them, exact, and every night what has changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.errors import (
    CorruptDataError,
    EmptySourceError,
    InvalidInputError,
    MissingColumnError,
    NotFoundError,
    UnsupportedError,
)
from airflow_dataflow.ingest.table import ingest_table
from airflow_dataflow.ingest.table_options import TableOptions

AT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def ingest(store, tables):
    """Return a function that ingests ``t`` of the database in the night of that number."""

    def run(night=0, *, table="t", query=None, **options):
        return ingest_table(
            store,
            tables.url,
            None if query else table,
            "shop/t",
            at=AT + timedelta(days=night),
            query=query,
            options=TableOptions(**options),
        )

    return run


@pytest.fixture
def content(store):
    """Return a function that reads all rows of a version, in the order of its files."""

    def read(manifest, folder="data"):
        place = store.directory(manifest)
        parts = []
        for entry in manifest.files_under(folder):
            with place.open(entry.path) as file:
                parts.append(pq.read_table(file))
        return pa.concat_tables(parts).to_pylist()

    return read


def make(tables, rows=10, *, extra=""):
    """Make the table ``t`` with some rows."""
    tables.run(
        f"CREATE TABLE t (id bigint PRIMARY KEY, amount decimal(20,4), name varchar(50){extra})",
        f"INSERT INTO t (id, amount, name) SELECT i, i * 1.0001, concat('name ', i) FROM {tables.series(rows)}",
    )


def test_a_version_has_the_rows_types_and_counts_of_the_table(tables, ingest, content):
    make(tables)
    tables.run("INSERT INTO t VALUES (9007199254740993, NULL, NULL)")
    manifest = ingest()
    assert manifest.columns == {"id": "int64", "amount": "decimal128(20, 4)", "name": "string"}
    assert (manifest.rows_in, manifest.rows_out, manifest.rows_quarantined) == (11, 11, 0)
    rows = content(manifest)
    assert rows[0] == {"id": 1, "amount": Decimal("1.0001"), "name": "name 1"}
    assert rows[-1] == {"id": 9007199254740993, "amount": None, "name": None}
    assert [source.path for source in manifest.sources] == ["t"]
    assert sum(entry.rows for entry in manifest.files) == 11


def test_equal_content_gives_no_second_version(tables, ingest):
    make(tables)
    first = ingest()
    assert ingest(1) == first
    # Every row is written anew, in another order on disk, with the values that it had.
    tables.run(
        "UPDATE t SET name = concat(name, '')",
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO t VALUES (3, 3.0003, 'name 3')",
    )
    assert ingest(2) == first


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET amount = 5 WHERE id = 7",
        "DELETE FROM t WHERE id = 7",
        "INSERT INTO t VALUES (11, 1, 'x')",
        "ALTER TABLE t ADD COLUMN more integer",
        "ALTER TABLE t RENAME COLUMN name TO title",
    ],
)
def test_any_change_gives_a_new_version(tables, ingest, change):
    make(tables)
    first = ingest()
    tables.run(change)
    second = ingest(1)
    assert second.version > first.version
    assert ingest(2) == second


def test_rows_that_are_again_as_they_were_give_a_new_version(tables, ingest, content):
    make(tables, 2)
    first = ingest()
    tables.run("UPDATE t SET name = 'x' WHERE id = 1")
    second = ingest(1)
    tables.run("UPDATE t SET name = 'name 1' WHERE id = 1")
    third = ingest(2)
    assert first.version < second.version < third.version
    assert content(third) == content(first)


def test_a_second_attempt_returns_the_version_of_the_first_though_the_table_has_changed(tables, ingest):
    make(tables)
    first = ingest()
    tables.run("DELETE FROM t WHERE id = 7")
    assert ingest() == first
    assert ingest(1) != first


def test_bytes_do_not_depend_on_how_many_connections_read(tables, ingest, store):
    make(tables, 1000)
    alone = ingest(readers=1, range_rows=150)
    tables.run("UPDATE t SET name = concat(name, '!') WHERE id = 1")
    ingest(1, readers=1, range_rows=150)
    tables.run("UPDATE t SET name = 'name 1' WHERE id = 1")
    together = ingest(2, readers=4, range_rows=150)
    assert len(together.files) == 7
    assert [entry.digest for entry in together.files] == [entry.digest for entry in alone.files]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", "i * 7 - 300"),
        ("decimal(30,10)", "i * 1.0000000001"),
        ("char(12)", "concat('k', i)"),
        ("varchar(40)", "concat('it''s \\\\ \"', i)"),
        ("timestamp", None),
        ("date", None),
        ("uuid", None),
        ("bit(20)", "i"),
    ],
)
def test_ranges_of_any_key_give_every_row_once_and_in_order(tables, ingest, content, kind, value):
    moment = "'2020-01-01' + i * interval '1 day'" if tables.is_postgres else "'2020-01-01' + interval i day"
    digits = "substr(md5(concat(i, '')), {}, {})".format
    parts = (digits(1, 8), digits(9, 4), f"'4', {digits(14, 3)}", f"'8', {digits(18, 3)}", digits(20, 12))
    identity = "concat(" + ", '-', ".join(parts) + ")" + ("::uuid" if tables.is_postgres else "")
    value = value or (identity if kind == "uuid" else moment)
    if tables.is_postgres and "'it" in value:
        value = value.replace("\\\\", "\\")
    if tables.is_postgres and kind == "bit(20)":
        value = "i::bit(20)"
    if tables.is_postgres and kind in ("timestamp", "date"):
        value = f"(timestamp {value})::{kind}"
    tables.run(
        f"CREATE TABLE t (k {kind} PRIMARY KEY, i bigint)",
        f"INSERT INTO t (k, i) SELECT {value}, i FROM {tables.series(100)}",
    )
    manifest = ingest(range_rows=9, readers=2)
    rows = content(manifest)
    assert sorted(row["i"] for row in rows) == list(range(1, 101))
    expected = [i for (i,) in tables.run("SELECT i FROM t ORDER BY k")]
    assert [row["i"] for row in rows] == expected
    assert len(manifest.files) >= 11


def test_a_key_of_several_columns_whose_first_one_repeats_gives_every_row_once(tables, ingest, content):
    tables.run(
        "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b))",
        f"INSERT INTO t SELECT floor(i / 40), i FROM {tables.series(100)}",
    )
    rows = content(ingest(range_rows=10))
    assert [row["b"] for row in rows] == list(range(1, 101))


def test_a_table_without_a_key_and_a_view_can_be_read(tables, ingest, content):
    tables.run("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (1), (NULL)", "CREATE VIEW v AS SELECT a FROM t")
    assert sorted(str(row["a"]) for row in content(ingest())) == ["1", "1", "None"]
    assert ingest(1, table="v").rows_out == 3


def test_a_query_makes_a_version(tables, ingest, content):
    make(tables)
    query = "SELECT id, amount * 2 AS twice FROM t WHERE name LIKE 'name %' AND id < 4 -- the first ones\n; -- done"
    manifest = ingest(query=query, key=("id",))
    assert content(manifest)[1] == {"id": 2, "twice": Decimal("4.0004")}
    assert manifest.rows_out == 3
    assert ingest(1, query=query, key=("id",)) == manifest


def test_a_semicolon_in_a_text_at_the_end_of_a_query_is_no_end(tables, ingest, content):
    tables.run("CREATE TABLE t (a varchar(20))", "INSERT INTO t VALUES ('; -- it''s'), ('x')")
    assert content(ingest(query="SELECT a FROM t WHERE a = '; -- it''s'")) == [{"a": "; -- it's"}]


def test_values_that_change_without_their_rows_give_a_new_version(tables, ingest, content):
    tables.run("CREATE TABLE t (id int PRIMARY KEY, more int)", "INSERT INTO t VALUES (1, 1)")
    first = ingest()
    tables.run("ALTER TABLE t DROP COLUMN more", "ALTER TABLE t ADD COLUMN more int DEFAULT 5")
    second = ingest(1)
    assert (second.version > first.version, content(second)) == (True, [{"id": 1, "more": 5}])
    if tables.is_postgres:
        tables.run("CREATE TYPE mood AS ENUM ('sad')", "CREATE TABLE m (mood mood)", "INSERT INTO m VALUES ('sad')")
        ingest(2, table="m")
        tables.run("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
        assert content(ingest(3, table="m")) == [{"mood": "blue"}]


# watermarks -------------------------------------------------------------------------------------


def test_each_night_reads_only_rows_above_the_watermark(tables, ingest, content):
    make(tables)
    first = ingest(watermark="id")
    assert ingest(1, watermark="id") == first
    tables.run("INSERT INTO t VALUES (11, 1, 'a'), (12, 2, 'b')")
    second = ingest(2, watermark="id")
    assert (second.rows_in, second.sources[-1].rows_in) == (12, 2)
    assert second.sources[0].carried_from == first.version
    assert set(first.files) < set(second.files)
    assert [row["id"] for row in content(second)] == list(range(1, 13))
    assert ingest(3, watermark="id") == second
    tables.run("INSERT INTO t VALUES (13, 1, 'c')")
    assert ingest(4, watermark="id").rows_in == 13


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO t VALUES (5, 1, 'late')",
        "DELETE FROM t WHERE id = 7",
        "UPDATE t SET id = 100 WHERE id = 7",
    ],
)
def test_late_deleted_and_moved_rows_make_a_night_read_everything_again(tables, ingest, content, change):
    make(tables)
    tables.run("DELETE FROM t WHERE id = 5")
    ingest(watermark="id")
    tables.run(change)
    manifest = ingest(1, watermark="id")
    expected = [i for (i,) in tables.run("SELECT id FROM t ORDER BY id")]
    assert [row["id"] for row in content(manifest)] == expected
    assert len(manifest.sources) == 1


def test_late_rows_can_be_left_alone(tables, ingest):
    make(tables)
    tables.run("DELETE FROM t WHERE id = 5")
    first = ingest(watermark="id", late="ignore")
    tables.run("INSERT INTO t VALUES (5, 1, 'late')")
    assert ingest(1, watermark="id", late="ignore") == first


def test_a_lag_leaves_the_newest_rows_to_a_later_night(tables, ingest):
    make(tables, extra=", at timestamp DEFAULT current_timestamp")
    old = "now() - interval '2 hours'" if tables.is_postgres else "now() - interval 2 hour"
    with pytest.raises(EmptySourceError):
        ingest(watermark="at", lag=3600)
    tables.run(f"UPDATE t SET at = {old} WHERE id <= 4")
    assert ingest(watermark="at", lag=3600).rows_out == 4
    assert ingest(1, watermark="at").rows_out == 10
    assert ingest(2, watermark="id", lag=3).rows_out == 7
    assert ingest(3, watermark="amount", lag=1.5).rows_out == 8


def test_a_lag_below_zero_leaves_numbers_without_a_sign_to_a_later_night(mariadb_tables, store):
    mariadb_tables.run("CREATE TABLE t (id bigint unsigned PRIMARY KEY)", "INSERT INTO t VALUES (1), (5)")
    with pytest.raises(EmptySourceError):
        ingest_table(store, mariadb_tables.url, "t", "shop/t", at=AT, options=TableOptions(watermark="id", lag=10))


def test_new_columns_make_a_night_read_everything_again(tables, ingest):
    make(tables)
    ingest(watermark="id")
    tables.run("ALTER TABLE t ADD COLUMN more integer", "INSERT INTO t VALUES (11, 1, 'a', 5)")
    second = ingest(1, watermark="id")
    assert second.columns["more"] == "int32"
    assert (second.rows_in, len(second.sources)) == (11, 1)


def test_large_numbers_are_compared_exactly(tables, ingest):
    tables.run("CREATE TABLE t (id bigint PRIMARY KEY)", "INSERT INTO t VALUES (9007199254740992)")
    ingest(watermark="id")
    tables.run("INSERT INTO t VALUES (9007199254740993)")
    assert ingest(1, watermark="id").sources[-1].rows_in == 1


def test_a_watermark_that_is_missing_in_rows_is_refused(tables, ingest):
    make(tables)
    tables.run("UPDATE t SET amount = NULL WHERE id = 3")
    with pytest.raises(InvalidInputError, match="the watermark 'amount' is missing in some rows"):
        ingest(watermark="amount")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"watermark": "ids"}, MissingColumnError, "no column 'ids' for its watermark; did you mean 'id'"),
        ({"watermark": "name"}, InvalidInputError, "'name' is no watermark: .*char.* is no number, date or time"),
        ({"key": ("nme",)}, MissingColumnError, "no column 'nme' for its key; did you mean 'name'"),
    ],
)
def test_wrong_columns_are_named(tables, ingest, options, error, message):
    make(tables)
    with pytest.raises(error, match=message):
        ingest(**options)


# bad input --------------------------------------------------------------------------------------


def test_a_value_without_an_equal_fails_with_its_name_or_goes_to_the_quarantine(tables, ingest, content):
    make(tables)
    kind = "numeric(9,2)" if tables.is_postgres else "date"
    value, reason = ("'NaN'", "not_a_number") if tables.is_postgres else ("'0000-00-00'", "zero_date")
    tables.run(f"ALTER TABLE t ADD COLUMN odd {kind}", *(["SET sql_mode = ''"] if not tables.is_postgres else []))
    tables.run(f"UPDATE t SET odd = {value} WHERE id = 7")
    with pytest.raises(InvalidInputError, match=rf"t: column 'odd' has {value} \({reason}\) in row id=7"):
        ingest()
    manifest = ingest(misfits="quarantine")
    assert (manifest.rows_in, manifest.rows_out, manifest.quarantined_by_reason) == (10, 9, {reason: 1})
    (row,) = content(manifest, "quarantine")
    assert (row["row_id"], row["rule"], row["reason"], row["value"]) == ("t:id=7", "ingest", reason, f"odd={value}")
    assert '"name":"name 7"' in row["raw"]
    assert 7 not in [row["id"] for row in content(manifest)]


def test_a_version_needs_at_least_one_good_row(tables, ingest):
    kind = "numeric" if tables.is_postgres else "date"
    tables.run(f"CREATE TABLE t (odd {kind})")
    with pytest.raises(EmptySourceError, match="t has no rows"):
        ingest()
    tables.run(f"INSERT INTO t VALUES ({'1e40' if tables.is_postgres else chr(39) + '0000-00-00' + chr(39)})")
    with pytest.raises(CorruptDataError, match="all 1 rows of t are bad"):
        ingest(misfits="quarantine")


def test_a_type_without_an_equal_is_named_with_a_cast(tables, ingest):
    kind = "int4range" if tables.is_postgres else "geometry"
    tables.run(f"CREATE TABLE t (id int PRIMARY KEY, odd {kind})")
    with pytest.raises(UnsupportedError, match=r"column 'odd' has .*(without an equal|no equal) in Arrow"):
        ingest()


def test_a_dataset_that_was_made_otherwise_is_refused(tables, ingest, store):
    make(tables)
    from airflow_dataflow.datasets.manifest import Rows

    with store.draft("shop/t", at=AT - timedelta(days=1), fingerprint="4f2a9c") as draft:
        draft.commit(Rows())
    with pytest.raises(InvalidInputError, match="was not made from a database"):
        ingest()


@pytest.mark.parametrize(
    "name", ["absent", "nowhere.t", 't"; DROP TABLE t; --', "t`; DROP TABLE t; --", "t; DROP TABLE t"]
)
def test_a_name_is_never_more_than_a_name(tables, ingest, name):
    make(tables)
    with pytest.raises((NotFoundError, InvalidInputError)):
        ingest(table=name)
    assert tables.run("SELECT count(*) FROM t") == [(10,)]


def test_odd_names_of_tables_and_columns_are_read(tables, ingest, content):
    table, column = ('"we ""ird"', '"a ""b% %s:x"') if tables.is_postgres else ('`we "ird`', '`a "b% %s:x`')
    tables.run(f"CREATE TABLE {table} ({column} int PRIMARY KEY)", f"INSERT INTO {table} VALUES (5)")
    assert content(ingest(table='we "ird', watermark='a "b% %s:x')) == [{'a "b% %s:x': 5}]
