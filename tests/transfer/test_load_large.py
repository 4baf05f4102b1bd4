"""Tables of two million rows, from a database to a version and back."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_dataflow.ingest.table import ingest_table
from airflow_dataflow.transfer.load import LoadOptions, load_version

ROWS = 2_000_000


def test_a_large_table_comes_back_without_a_changed_value(tables, store):
    if tables.is_postgres:
        tables.run(
            "CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(24,6), day date, at timestamptz, tags text[], "
            "raw bytea, big bigint, ratio double precision)",
            "INSERT INTO t SELECT i, CASE WHEN i % 7 > 0 THEN i::bigint * 1000003 / 999999.0 END, "
            "date '1900-01-01' + i % 90000, "
            "timestamptz '1970-01-01 00:00:00.000001+00' + i * interval '97.000003 s', "
            "CASE WHEN i % 5 > 0 THEN ARRAY['a' || i, NULL, 'ü'] END, decode(md5(i::text), 'hex'), "
            "CASE WHEN i % 3 > 0 THEN 9007199254740993 + i END, i / 7.0 "
            f"FROM generate_series(1, {ROWS}) AS numbers (i)",
        )
    else:
        tables.run(
            "CREATE TABLE t (id bigint PRIMARY KEY, amount decimal(24,6), day date, at datetime(6), tags json, "
            "raw varbinary(16), big bigint, ratio double)",
            "INSERT INTO t SELECT seq, IF(seq % 7 > 0, seq * 1000003 / 999999.0, NULL), "
            "date '1900-01-01' + interval seq % 90000 day, "
            "timestamp'1970-01-01 00:00:00.000001' + interval seq * 97 second, "
            "IF(seq % 5 > 0, json_array(concat('a', seq), NULL, 'ü'), NULL), unhex(md5(seq)), "
            f"IF(seq % 3 > 0, 9007199254740993 + seq, NULL), seq / 7.0 FROM seq_1_to_{ROWS}",
        )
    made = ingest_table(store, tables.url, "t", "shop/t", at=datetime(2026, 11, 24, tzinfo=UTC))
    assert made.rows_out == ROWS
    load_version(store, made.reference, tables.url, "back", options=LoadOptions(key=("id",)))
    same = " AND ".join(
        f"t.{name} {'IS NOT DISTINCT FROM' if tables.is_postgres else '<=>'} back.{name}"
        for name in ("amount", "day", "at", "tags", "raw", "big", "ratio")
    )
    assert tables.run(f"SELECT count(*) FROM t JOIN back ON t.id = back.id WHERE {same}") == [(ROWS,)]
    assert tables.run("SELECT count(*) FROM back") == [(ROWS,)]
