"""The first pass: a raw file becomes Arrow batches on scratch disk, and its types become known.

What type a column has is decided over all values of all files, so nothing can be written before everything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_dataflow.ingest.columns import join, observe
from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, Reader, check_names
from airflow_dataflow.ingest.rejects import Rejects

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass
class Staged:
    """What the first pass knows of one file."""

    file: LocalFile
    """The file that was read."""
    rejects: Rejects
    """Its bad rows so far."""
    types: dict[str, pa.DataType] = field(default_factory=dict)
    """Observed types of its columns."""
    rows: int = 0
    """Its good rows."""
    reason: str | None = None
    """Why the file as a whole was refused; ``None`` when it was not."""
    rejected_while_reading: int = 0
    """Its rows that were bad already in the first pass."""
    segments: list[Path] = field(default_factory=list)
    """Scratch files with its rows, one per run of batches of one schema."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the good rows in order."""
        for segment in self.segments:
            with pa.OSFile(str(segment)) as source, pa.ipc.open_stream(source) as stored:
                yield from stored


def stage(file: LocalFile, reader: Reader, scratch: Path, on_bytes: Callable[[int], None]) -> Staged:
    """Read a file once.

    :param file: the file.
    :param reader: reads its format.
    :param scratch: an empty folder for it.
    :param on_bytes: is told how many bytes of the file have been read.
    """
    staged = Staged(file, Rejects(file.name, scratch / "rejects"))
    try:
        _refuse_zero_bytes(file)
        _write_segments(staged, reader, scratch, on_bytes)
        _refuse_no_columns(staged)
        staged.rejected_while_reading = staged.rejects.counts.total()
    except RefusedFileError as error:
        staged = Staged(file, Rejects(file.name, scratch / "none"), reason=str(error))
    on_bytes(file.path.stat().st_size)
    return staged


def _refuse_zero_bytes(file: LocalFile) -> None:
    if file.path.stat().st_size == 0:
        raise RefusedFileError("it has zero bytes: have it delivered again")


def _refuse_no_columns(staged: Staged) -> None:
    if staged.rows and not staged.types:
        raise RefusedFileError("its rows have no columns")


def _write_segments(staged: Staged, reader: Reader, scratch: Path, on_bytes: Callable[[int], None]) -> None:
    writer: Any = None
    schema: pa.Schema | None = None
    try:
        for batch in reader.read(staged.file, staged.rejects):
            on_bytes(staged.file.bytes_read)
            if batch.schema != schema:
                check_names(batch.schema.names[:-1])
                schema = batch.schema
                if writer is not None:
                    writer.close()
                path = scratch / f"segment-{len(staged.segments)}"
                writer = pa.ipc.new_stream(str(path), schema, options=_COMPRESSED)
                staged.segments.append(path)
            _look_at(batch, staged, reader)
            writer.write_batch(batch)
    finally:
        if writer is not None:
            writer.close()


def _look_at(batch: pa.RecordBatch, staged: Staged, reader: Reader) -> None:
    staged.rows += batch.num_rows
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name == LINE:
            continue
        known = staged.types.get(name, pa.null())
        # Text holds everything: once a column is text, there is nothing left to find out.
        staged.types[name] = known if pa.types.is_string(known) else join(known, observe(column, reader.text_types))
