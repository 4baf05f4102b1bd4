"""Parquet files of many writers."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, parquet
from airflow_dataflow.ingest.readers.parquet import Parquet
from airflow_dataflow.ingest.rejects import Rejects


def read(path: Path) -> tuple[pa.Table, list[dict[str, Any]]]:
    rejects = Rejects(path.name, path.with_name("rejects"))
    table = pa.Table.from_batches(list(Parquet().read(LocalFile(path.name, path), rejects)))
    return table, [row for batch in rejects.batches() for row in batch.to_pylist()]


def strings(*values: bytes) -> pa.Array:
    """Return a string column that does not care for UTF-8."""
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    )


@pytest.mark.parametrize(
    ("column", "plain"),
    [
        (pa.array(["a", None, "a"]).dictionary_encode(), pa.string()),
        (pa.array(["a", None], pa.large_string()), pa.string()),
        (pa.array(["a", None], pa.string_view()), pa.string()),
        (pa.array([b"a", None], pa.large_binary()), pa.binary()),
        (pa.array([b"ab", None], pa.binary(2)), pa.binary()),
        (pa.array([["a"], None], pa.large_list(pa.large_string())), pa.list_(pa.string())),
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), pa.list_(pa.float32())),
        (pa.array([{"a": "x"}, None], pa.struct([("a", pa.large_string())])), pa.struct([("a", pa.string())])),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), pa.map_(pa.string(), pa.int64())),
        (pa.array([datetime(2026, 11, 1, tzinfo=UTC), None], pa.timestamp("ms", "Europe/Berlin")), None),
        (pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)), None),
        (pa.array([date(2026, 11, 1), None], pa.date32()), None),
        (pa.array([time(1, 2, 3), None], pa.time64("us")), None),
        (pa.array([1, 255], pa.uint8()), None),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_special_encodings_become_plain_and_all_values_stay(
    tmp_path: Path, column: pa.Array, plain: pa.DataType | None
) -> None:
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    table, bad = read(tmp_path / "a.parquet")
    assert table.schema.field("x").type == (plain or column.type)
    assert table.column("x").to_pylist() == column.to_pylist()
    assert table.column(LINE).to_pylist() == list(range(1, len(column) + 1))
    assert bad == []


def test_rows_with_strings_that_are_no_utf8_are_rejected_readably(tmp_path: Path) -> None:
    nested = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), strings(b"a", b"b", b"\xfe"))
    table = pa.table({"id": [1, 2, 3], "text": strings(b"ok", b"caf\xe9", b"fine"), "tags": nested})
    pq.write_table(table, tmp_path / "a.parquet")
    good, bad = read(tmp_path / "a.parquet")
    assert good.column("id").to_pylist() == [1]
    good.validate(full=True)
    assert [(row["row_id"], row["reason"], row["value"]) for row in bad] == [
        ("a.parquet:2", "invalid_utf8", "text=caf\\xe9"),
        ("a.parquet:3", "invalid_utf8", "tags=not UTF-8"),
    ]
    assert bad[0]["raw"] == '{"id":2,"text":"caf\\\\xe9","tags":["b"]}'


def test_a_large_file_comes_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 10_000)
    pq.write_table(pa.table({"x": [f"{n:0>100}" for n in range(5000)]}), tmp_path / "a.parquet", use_dictionary=False)
    table, _ = read(tmp_path / "a.parquet")
    assert table.column(LINE).to_pylist() == list(range(1, 5001))
    assert max(chunk.nbytes for chunk in table.column("x").chunks) < 20_000


def test_a_compressed_parquet_file_is_read_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "plain")
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    assert read(tmp_path / "a.parquet.gz")[0].column("x").to_pylist() == [1, 2]


def test_a_file_without_rows_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    rejects = Rejects("a.parquet", tmp_path / "rejects")
    batches = list(Parquet().read(LocalFile("a.parquet", tmp_path / "a.parquet"), rejects))
    assert sum(batch.num_rows for batch in batches) == 0


def damage(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "no footer": content[:-20],
        "half": content[:middle],
        "hole": content[:4] + b"\xff" * (middle - 4) + content[middle:],
        "text": b"id,name\n1,a\n",
        "magic only": b"PAR1",
    }


@pytest.mark.parametrize("kind", ["no footer", "half", "hole", "text", "magic only"])
def test_damaged_files_are_refused(tmp_path: Path, kind: str) -> None:
    pq.write_table(pa.table({"x": [f"value {n}" for n in range(5000)]}), tmp_path / "whole", compression="zstd")
    path = tmp_path / "a.parquet"
    path.write_bytes(damage((tmp_path / "whole").read_bytes())[kind])
    with pytest.raises(RefusedFileError, match=r"no valid Parquet file .*delivered again"):
        read(path)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(RefusedFileError, match="'x' occurs 2 times"):
        read(tmp_path / "a.parquet")
