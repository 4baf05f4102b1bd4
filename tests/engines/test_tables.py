"""Tables keep their types, whatever encoding they come in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.engines.engine import ORDER, TableFile
from airflow_dataflow.engines.tables import plain_type, read_batches, to_arrow, unify
from airflow_dataflow.errors import CorruptDataError, InvalidInputError
from airflow_dataflow.storage.directory import Directory

COLUMNS = {
    "bool": pa.array([True, None]),
    "int8": pa.array([1, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "float": pa.array([1.5, None], pa.float32()),
    "decimal": pa.array([Decimal("12345678901234567890.12"), None], pa.decimal128(38, 2)),
    "date": pa.array([date(2026, 1, 2), None]),
    "time": pa.array([datetime(2026, 1, 2, 3, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    "text": pa.array(["a\x00b 👍", None]),
    "bytes": pa.array([b"\xff", None]),
    "list": pa.array([["a", None], None], pa.list_(pa.string())),
    "struct": pa.array([{"x": 1, "y": ["z"]}, None]),
}


def read(file: TableFile, schema: pa.Schema) -> pa.Table:
    """Return the rows of a file after a way through Polars."""
    batches = read_batches(file, schema, number=0, batch_bytes=1)
    return to_arrow(pl.concat(batches).drop(ORDER))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_out_as_it_went_in(table: Callable[..., TableFile], name: str) -> None:
    before = pa.table({name: COLUMNS[name]})
    after = read(table("a", before), before.schema)
    assert after.equals(before)


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        (pa.dictionary(pa.int32(), pa.string()), pa.string()),
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.large_binary(), pa.binary()),
        (pa.large_list(pa.large_string()), pa.list_(pa.string())),
        (pa.struct([("x", pa.large_string())]), pa.struct([("x", pa.string())])),
        (pa.int16(), pa.int16()),
    ],
)
def test_encodings_are_no_types(encoded: pa.DataType, plain: pa.DataType) -> None:
    assert plain_type(encoded) == plain


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.null(), pa.string(), pa.string()),
        (pa.string(), pa.large_string(), pa.string()),
        (pa.int64(), pa.string(), pa.string()),
        (pa.bool_(), pa.int64(), pa.string()),
        (pa.date32(), pa.string(), pa.string()),
    ],
)
def test_types_of_two_files_meet(left: pa.DataType, right: pa.DataType, both: pa.DataType) -> None:
    for pair in ((left, right), (right, left)):
        assert unify([pa.schema([("x", kind)]) for kind in pair]) == pa.schema([("x", both)])


def test_columns_keep_the_order_of_their_first_appearance() -> None:
    first, second = pa.schema([("b", pa.int64()), ("a", pa.int64())]), pa.schema([("c", pa.int64()), ("a", pa.int64())])
    assert unify([first, second]).names == ["b", "a", "c"]


def test_text_that_is_no_utf8_is_damaged_data(folder: Directory) -> None:
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    with folder.create("a.parquet") as file:
        pq.write_table(pa.table({"x": broken}), file)
    table = TableFile(directory=folder, path="a.parquet", stem="a")
    with pytest.raises(CorruptDataError, match=r"column 'x' of a\.parquet holds damaged values"):
        read(table, pa.schema([("x", pa.string())]))


def test_a_column_that_cannot_become_text_is_named(table: Callable[..., TableFile]) -> None:
    file = table("a", pa.table({"x": pa.array([{"y": 1}])}))
    with pytest.raises(InvalidInputError, match=r"column 'x' of a\.parquet has type struct<y: int64>"):
        read(file, pa.schema([("x", pa.string())]))


@pytest.mark.parametrize("error", [ConnectionResetError("peer"), TimeoutError("slow"), OSError(5, "disk")])
def test_trouble_on_the_way_is_no_damage(
    table: Callable[..., TableFile], monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    file = table("a", pa.table({"x": [1]}))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(type(error)) as raised:
        read(file, pa.schema([("x", pa.int64())]))
    assert not isinstance(raised.value, CorruptDataError)
