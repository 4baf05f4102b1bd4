"""The second pass: staged rows become typed Parquet files of bounded size, and what does not fit is quarantined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.ingest.columns import convert_or_null, text_of
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.readers import LINE
from airflow_dataflow.ingest.rejects import QUARANTINE, Rejects
from airflow_dataflow.ingest.staging import Staged
from airflow_dataflow.storage.writing import HashingWriter


class Output(Protocol):
    """Where files are written: a version's draft, or any folder."""

    def create(self, relative: str) -> AbstractContextManager[HashingWriter]:
        """Open a file for writing; it appears when the block ends without an error."""


class TableWriter:
    """Writes batches of one schema to Parquet files of bounded size, in row groups of bounded size.

    :param output: where the files go.
    :param pattern: path of a file, with ``{}`` for its number from 0.
    :param schema: schema of the batches.
    :param options: bounds.
    """

    def __init__(self, output: Output, pattern: str, schema: pa.Schema, options: IngestOptions) -> None:
        self.paths: list[str] = []
        """Files begun so far."""
        self._output = output
        self._pattern = pattern
        self._schema = schema
        self._options = options
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._part_rows = 0
        self._part_bytes = 0
        self._part: tuple[HashingWriter, pq.ParquetWriter] | None = None
        self._open = ExitStack()

    @classmethod
    @contextmanager
    def opened(cls, output: Output, pattern: str, schema: pa.Schema, options: IngestOptions) -> Iterator[Self]:
        """Make a writer whose last file is ended with the block, or dropped when the block fails."""
        writer = cls(output, pattern, schema, options)
        with writer._open:
            yield writer
            writer._end_part()

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows, beginning a new file where one is full."""
        while batch.num_rows:
            room = self._options.part_rows - self._part_rows
            row_bytes = max(batch.nbytes / batch.num_rows, 1)
            room = min(room, max(int((self._options.part_bytes - self._part_bytes) / row_bytes), 0))
            if room == 0 and self._part_rows:
                self._end_part()
                continue
            piece = batch.slice(0, max(room, 1))
            batch = batch.slice(piece.num_rows)
            self._held.append(piece)
            self._held_bytes += piece.nbytes
            self._part_rows += piece.num_rows
            self._part_bytes += piece.nbytes
            if self._held_bytes >= self._options.row_group_bytes:
                self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        if self._part is None:
            path = self._pattern.format(f"{len(self.paths):05d}")
            writer = self._open.enter_context(self._output.create(path))
            parquet = pq.ParquetWriter(
                writer, self._schema, compression="zstd", compression_level=3, write_statistics=True
            )
            self._open.callback(parquet.close)
            self._part = (writer, parquet)
            self.paths.append(path)
        table = pa.Table.from_batches(self._held, self._schema)
        self._part[1].write_table(table, row_group_size=max(table.num_rows, 1))
        self._held, self._held_bytes = [], 0

    def _end_part(self) -> None:
        self._flush()
        if self._part is not None:
            self._part[0].rows = self._part_rows
            self._open.close()
        self._part, self._part_rows, self._part_bytes = None, 0, 0


def write_file(
    staged: Staged, schema: pa.Schema, output: Output, stem: str, options: IngestOptions
) -> tuple[list[str], Counter[str]]:
    """Write the rows of one staged file.

    :param staged: the first pass's result.
    :param schema: columns to write; one that the file lacks is filled with nulls.
    :param output: where the files go.
    :param stem: start of the names of all files.
    :param options: bounds of the files.
    :returns: paths of the files, and quarantined rows by reason.
    """
    rejects = staged.rejects
    with TableWriter.opened(output, f"data/{stem}-{{}}.parquet", schema, options) as data:
        for batch in staged.batches():
            data.write(_typed(batch, schema, rejects))
    paths = data.paths
    if rejects.counts:
        with TableWriter.opened(output, f"quarantine/{stem}.parquet", QUARANTINE, _in_one_file(options)) as quarantine:
            for batch in rejects.batches():
                quarantine.write(batch)
        paths = [*paths, *quarantine.paths]
    return paths, rejects.counts


def _in_one_file(options: IngestOptions) -> IngestOptions:
    return IngestOptions(part_rows=2**62, part_bytes=2**62, row_group_bytes=options.row_group_bytes)


def _typed(batch: pa.RecordBatch, schema: pa.Schema, rejects: Rejects) -> pa.RecordBatch:
    """Convert the columns; rows with a value that does not fit go to ``rejects``."""
    names = batch.schema.names
    columns, misfits = [], dict[int, str]()
    for item in schema:
        if item.name not in names:
            columns.append(pa.nulls(batch.num_rows, item.type))
            continue
        column, positions = convert_or_null(batch.column(item.name), item.type)
        columns.append(column)
        for position in positions:
            misfits.setdefault(position, item.name)
    typed = pa.record_batch(columns, schema=schema)
    if not misfits:
        return typed
    for position, row in _rows_at(batch, sorted(misfits)):
        name = misfits[position]
        line = row.pop(LINE)
        value = f"{name}={text_of(row[name])} is no {schema.field(name).type}"
        rejects.add(line, "type_mismatch", value, text_of(row))
    keep = np.ones(batch.num_rows, dtype=bool)
    keep[list(misfits)] = False
    return typed.filter(pa.array(keep))


def _rows_at(batch: pa.RecordBatch, positions: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = batch.take(pa.array(positions, pa.int64())).to_pylist()
    return zip(positions, rows, strict=True)
