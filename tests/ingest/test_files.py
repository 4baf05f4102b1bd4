"""Files to tables: bounds, scratch disk, names of outputs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from airflow_dataflow.errors import StorageFullError, is_out_of_space
from airflow_dataflow.ingest.files import ingest_files
from airflow_dataflow.ingest.landing import LocalFile
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.readers import build_readers
from airflow_dataflow.ingest.rejects import Rejects
from airflow_dataflow.ingest.staging import stage
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.scratch import scratch_folder


def test_a_big_file_becomes_several_parts_in_the_order_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("x,y\n" + "".join(f"{n},z\n" for n in range(2500)))
    output = Directory.from_url(str(tmp_path / "out"))
    [source] = ingest_files(str(tmp_path / "in"), output, options=IngestOptions(part_rows=1000)).sources
    assert [path.rsplit("-", 1)[1] for path in source.outputs] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    tables = [pq.read_table(output.path(path)) for path in source.outputs]
    assert [x for table in tables for x in table.column("x").to_pylist()] == list(range(2500))


@pytest.mark.parametrize(
    ("content", "full"),
    [(b"x,y\n" + b"1,2\n" * 500_000, "segment-0"), (b"x,y\n" + b"bad row\n" * 1_500_000, "rejects")],
)
def test_a_full_scratch_disk_is_named(tmp_path: Path, content: bytes, full: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    def fill(scratch: Path) -> None:
        (scratch / full).symlink_to("/dev/full")
        stage(LocalFile("a.csv", path), build_readers({})[".csv"], scratch, lambda _: None)

    with pytest.raises(StorageFullError, match="TMPDIR") as caught, scratch_folder() as scratch:
        fill(scratch)
    assert is_out_of_space(caught.value.__cause__)
    assert not scratch.exists()


def test_rejects_beyond_memory_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_dataflow.ingest.rejects._FLUSH_BYTES", 100)
    rejects = Rejects("a.csv", tmp_path / "rejects")
    for line in range(100):
        rejects.add(line, "malformed_row", "1 fields, expected 2", f"row {line}")
    rows = [row for batch in rejects.batches() for row in batch.to_pylist()]
    assert [row["row_id"] for row in rows] == [f"a.csv:{line}" for line in range(100)]
    assert rejects.counts == {"malformed_row": 100}
