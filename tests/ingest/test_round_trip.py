"""Any table, written as CSV, JSON Lines or Parquet, comes back with equal values."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_dataflow.ingest.files import Ingested, ingest_files
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.storage.directory import Directory

NAMES = ["a", "b c", "ä", "n\nl", '"q"']
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
# Letters that no number, date or truth value is written with alone.
WORDS = TEXT.map(lambda text: f"w{text}")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(9000, 1, 1))  # noqa: DTZ001 - a type without zone
COLUMNS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): NUMBERS,
    pa.bool_(): st.booleans(),
    pa.string(): WORDS,
    pa.date32(): st.dates(date(1, 1, 1)),
    pa.timestamp("us"): MOMENTS,
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Return a table of one to five columns with a value in each, and missing values among them."""
    kinds = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=5))
    count = draw(st.integers(1, 12))
    columns = []
    for kind in kinds:
        values = draw(st.lists(st.none() | COLUMNS[kind], min_size=count, max_size=count))
        values[draw(st.integers(0, count - 1))] = draw(COLUMNS[kind])
        columns.append(pa.array(values, kind))
    return pa.table(columns, names=NAMES[: len(columns)])


def write_csv(table: pa.Table, path: Path) -> None:
    pyarrow.csv.write_csv(table, path)


def write_polars_csv(table: pa.Table, path: Path) -> None:
    pl.DataFrame(table).write_csv(path)


def write_jsonl(table: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))


def write_utf8_jsonl(table: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in table.to_pylist()))


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


WRITERS = {
    write_csv: "a.csv",
    write_polars_csv: "a.csv",
    write_jsonl: "a.jsonl",
    write_utf8_jsonl: "a.jsonl",
    write_parquet: "a.parquet",
}


def ingested(folder: Path, landing: Path, **options: Any) -> tuple[Ingested, pa.Table]:
    output = Directory.from_url(str(folder / "out"))
    written = ingest_files(str(landing), output, options=IngestOptions(**options))
    paths = [path for one in written.sources for path in one.outputs if path.startswith("data/")]
    table = pa.concat_tables(pq.read_table(output.path(path)) for path in paths)
    return written, table


def rows(table: pa.Table, *, without_empty: bool) -> list[tuple[Any, ...]]:
    found = [tuple(row.values()) for row in table.to_pylist()]
    return [row for row in found if any(value is not None for value in row)] if without_empty else found


def fits(expected: pa.DataType, found: pa.DataType, column: pa.ChunkedArray) -> bool:
    """Tell whether a column has its own type, or one that its values allow as well."""
    if found == expected:
        return True
    values = [value for value in column.to_pylist() if value is not None]
    if pa.types.is_float64(expected):
        return pa.types.is_int64(found) and all(value == int(value) for value in values)
    return False


@pytest.mark.parametrize(("write", "name"), WRITERS.items(), ids=lambda item: getattr(item, "__name__", ""))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_values_and_types_survive(
    tmp_path_factory: pytest.TempPathFactory, write: Any, name: str, table: pa.Table
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    (folder / "in").mkdir()
    write(table, folder / "in" / name)
    written, found = ingested(folder, folder / "in")
    # A line without any value is no row of a CSV file; a file may end with one.
    without_empty = name.endswith(".csv")
    assert rows(found, without_empty=False) == rows(table, without_empty=without_empty)
    assert written.rows.rows_quarantined == 0
    assert found.schema.names == table.schema.names
    for field, column in zip(table.schema, table.columns, strict=True):
        assert fits(field.type, found.schema.field(field.name).type, column)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.recursive(
                st.none() | st.booleans() | st.integers() | NUMBERS | TEXT,
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
                max_leaves=5,
            ),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_json_object_is_kept_as_a_row(
    tmp_path_factory: pytest.TempPathFactory, objects: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("json")
    (folder / "in").mkdir()
    (folder / "in" / "a.jsonl").write_text("".join(json.dumps(item) + "\n" for item in objects))
    written, found = ingested(folder, folder / "in")
    assert written.rows.rows_out == len(objects)
    for item, row in zip(objects, found.to_pylist(), strict=True):
        for name, value in item.items():
            assert same(value, row[name])


def same(value: Any, stored: Any) -> bool:
    """Tell whether a stored value says what the JSON value said, perhaps as text or in a wider struct."""
    if value is None or value == "":
        return stored in (None, "")
    if isinstance(stored, str) and not isinstance(value, str):
        return same(value, json.loads(stored))
    if isinstance(value, dict):
        return all(same(item, stored[name]) for name, item in value.items())
    if isinstance(value, list):
        return len(value) == len(stored) and all(map(same, value, stored))
    if isinstance(value, float):
        return math.isclose(value, stored, rel_tol=0, abs_tol=0)
    return bool(value == stored)


@settings(max_examples=20, deadline=None)
@given(table=tables(), part_rows=st.integers(1, 5))
def test_the_same_rows_in_all_formats_get_one_schema(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, part_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "in").mkdir()
    table = table.append_column("key", pa.array(range(table.num_rows)))
    for write, name in [(write_csv, "a.csv"), (write_jsonl, "b.jsonl"), (write_parquet, "c.parquet")]:
        write(table, folder / "in" / name)
    written, found = ingested(folder, folder / "in", part_rows=part_rows)
    assert written.rows.rows_out == 3 * table.num_rows
    assert found.num_rows == 3 * table.num_rows
    third = table.num_rows
    first, *others = (found.slice(start, third).to_pylist() for start in range(0, 3 * third, third))
    if all(found.schema.field(item.name).type == item.type for item in table.schema):
        assert others == [first, first]
