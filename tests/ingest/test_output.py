"""Output files of bounded size."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.output import TableWriter
from airflow_dataflow.storage.directory import Directory

SCHEMA = pa.schema([("x", pa.int64())])


def write(folder: Path, sizes: list[int], **options: int) -> list[pq.ParquetFile]:
    """Write batches of consecutive numbers and return the files that came out."""
    output = Directory.from_url(str(folder))
    start = 0
    with TableWriter.opened(output, "data/a-{}.parquet", SCHEMA, IngestOptions(**options)) as writer:
        for size in sizes:
            writer.write(pa.record_batch([pa.array(range(start, start + size))], schema=SCHEMA))
            start += size
    files = [pq.ParquetFile(output.path(path)) for path in writer.paths]
    assert writer.paths == [f"data/a-{number:05d}.parquet" for number in range(len(files))]
    assert sorted(output.files()) == writer.paths
    assert [x for file in files for x in file.read().column("x").to_pylist()] == list(range(sum(sizes)))
    return files


@pytest.mark.parametrize(
    ("sizes", "options", "rows"),
    [
        ([10, 10, 10], {}, [30]),
        ([10, 10, 10], {"part_rows": 12}, [12, 12, 6]),
        ([100], {"part_rows": 40}, [40, 40, 20]),
        ([3] * 10, {"part_bytes": 80}, [10, 10, 10]),
        ([10], {"part_bytes": 1}, [1] * 10),
        ([0, 5, 0], {"part_rows": 5}, [5]),
        ([5, 5], {"part_rows": 5}, [5, 5]),
        ([], {}, []),
        ([0], {}, []),
    ],
)
def test_files_are_filled_and_none_is_empty(
    tmp_path: Path, sizes: list[int], options: dict[str, int], rows: list[int]
) -> None:
    assert [file.metadata.num_rows for file in write(tmp_path, sizes, **options)] == rows


def test_row_groups_are_bounded_compressed_and_have_statistics(tmp_path: Path) -> None:
    [file] = write(tmp_path, [100] * 10, row_group_bytes=1600)
    assert [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)] == [200] * 5
    column = file.metadata.row_group(4).column(0)
    assert column.compression == "ZSTD"
    assert (column.statistics.min, column.statistics.max) == (800, 999)


def write_all(output: Directory, options: IngestOptions, batches: list[pa.RecordBatch]) -> None:
    with TableWriter.opened(output, "data/a-{}.parquet", SCHEMA, options) as writer:
        for batch in batches:
            writer.write(batch)


@pytest.mark.parametrize("row_group_bytes", [1, 8, 1000])
def test_a_failure_leaves_no_file(tmp_path: Path, row_group_bytes: int) -> None:
    output = Directory.from_url(str(tmp_path))
    options = IngestOptions(row_group_bytes=row_group_bytes)
    good = pa.record_batch([pa.array([1, 2])], schema=SCHEMA)
    bad = pa.record_batch([pa.array(["one"])], names=["x"])
    with pytest.raises(pa.ArrowInvalid):
        write_all(output, options, [good, bad])
    assert output.files() == {}


@pytest.mark.parametrize("options", [{"part_rows": 0}, {"part_bytes": -1}, {"row_group_bytes": 0}, {"missing": "kepp"}])
def test_bounds_that_hold_nothing_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError):
        IngestOptions(**options)
