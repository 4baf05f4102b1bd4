"""Rows of a snapshot to Parquet files on scratch disk: in order of their key, range by range, several at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import pyarrow as pa

from airflow_dataflow.databases.columns import Column, Misfit, typed
from airflow_dataflow.databases.dialects import Snapshot
from airflow_dataflow.datasets.manifest import FileEntry
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.ingest.columns import text_of
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.output import TableWriter
from airflow_dataflow.ingest.rejects import QUARANTINE, Rejects
from airflow_dataflow.ingest.table_options import TableOptions
from airflow_dataflow.ingest.table_window import Window, column_named
from airflow_dataflow.progress import Progress
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.writing import HashingWriter

_RANGED = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp, pa.types.is_string)
_IN_ONE_FILE = IngestOptions(part_rows=2**62, part_bytes=2**62)


class ScratchOutput:
    """A folder that knows what was written to it.

    :param folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.directory = Directory.from_url(str(folder))
        self.entries: dict[str, FileEntry] = {}

    @contextmanager
    def create(self, relative: str) -> Iterator[HashingWriter]:
        """Open a file for writing."""
        with self.directory.create(relative) as writer:
            yield writer
        self.entries[relative] = FileEntry(
            path=relative, bytes=writer.bytes_written, digest=writer.digest, rows=writer.rows
        )


@dataclass
class TableRows:
    """What was read."""

    output: ScratchOutput
    """The files."""
    schema: pa.Schema
    """Columns of the data files."""
    rows_in: int = 0
    """Rows that the database sent."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Quarantined rows by reason."""

    @property
    def entries(self) -> list[FileEntry]:
        """The files, in the order of their rows."""
        return [self.output.entries[path] for path in sorted(self.output.entries)]


def read_rows(
    snapshot: Snapshot,
    window: Window,
    options: TableOptions,
    scratch: Path,
    *,
    label: str,
    dialect: str,
    night: int,
    progress: Progress,
) -> TableRows:
    """Read the rows of a window.

    :param snapshot: what is read.
    :param scratch: an empty folder.
    :param label: name of the source in messages and in the quarantine.
    :param dialect: name of the database's dialect, for the schema.
    :param night: number that starts the names of the files.
    :param progress: is told of rows.
    :raises InvalidInputError: for a value without an equal in Arrow, unless such rows go to the quarantine.
    """
    key = snapshot.key if options.key is None else options.key
    for name in key:
        column_named(snapshot, name, "key")
    schema = pa.schema([column.field(dialect) for column in snapshot.columns])
    result = TableRows(ScratchOutput(scratch / "files"), schema)
    reader = _Reader(snapshot, options, result, key=key, label=label, scratch=scratch, night=night, progress=progress)
    todo: SimpleQueue[tuple[int, Sequence[str]]] = SimpleQueue()
    ranges = _ranges(snapshot, window, key, options.range_rows)
    for number, conditions in enumerate(ranges):
        todo.put((number, conditions))
    workers = min(snapshot.readers, len(ranges))
    with ThreadPoolExecutor(workers, thread_name_prefix="dataflow-read") as pool:
        try:
            for done in [pool.submit(reader.work, connection, todo) for connection in range(workers)]:
                done.result()
        finally:
            reader.stop.set()
    return result


class _Reader:
    """What all connections share."""

    def __init__(
        self,
        snapshot: Snapshot,
        options: TableOptions,
        result: TableRows,
        *,
        key: Sequence[str],
        label: str,
        scratch: Path,
        night: int,
        progress: Progress,
    ) -> None:
        self.stop = threading.Event()
        self._snapshot = snapshot
        self._options = options
        self._result = result
        self._key = key
        self._label = label
        self._scratch = scratch
        self._night = night
        self._progress = progress
        self._lock = threading.Lock()
        self._bounds = IngestOptions(part_rows=options.range_rows, row_group_bytes=options.row_group_bytes)

    def work(self, connection: int, todo: SimpleQueue[tuple[int, Sequence[str]]]) -> None:
        """Read one range after the other, until none is left or somebody failed."""
        while not self.stop.is_set():
            try:
                number, conditions = todo.get_nowait()
            except Empty:
                return
            try:
                self._read(connection, number, conditions)
            except BaseException:
                self.stop.set()
                raise

    def _read(self, connection: int, number: int, conditions: Sequence[str]) -> None:
        snapshot, result, output = self._snapshot, self._result, self._result.output
        stem = f"{self._night:06d}-{number:05d}"
        rejects = Rejects(self._label, self._scratch / f"rejects-{number}")
        columns = snapshot.columns
        expressions = ", ".join(expression for column in columns for expression in column.expressions)
        order = ", ".join(snapshot.column(name) for name in self._key)
        sql = f"SELECT {expressions} FROM {snapshot.relation}"
        sql += f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql += f" ORDER BY {order}" if order else ""
        row = 0
        with TableWriter.opened(output, f"data/{stem}-{{}}.parquet", result.schema, self._bounds) as data:
            for raw in snapshot.batches(sql, connection, columns):
                if self.stop.is_set():
                    return
                batch, misfits = typed(columns, raw, result.schema)
                data.write(self._without(batch, misfits, rejects, row) if misfits else batch)
                row += batch.num_rows
                self._count(batch.num_rows)
        if rejects.counts:
            with TableWriter.opened(output, f"quarantine/{stem}.parquet", QUARANTINE, _IN_ONE_FILE) as quarantine:
                for rejected in rejects.batches():
                    quarantine.write(rejected)
        with self._lock:
            result.reasons.update(rejects.counts)

    def _count(self, rows: int) -> None:
        with self._lock:
            self._result.rows_in += rows
            self._progress("reading", self._result.rows_in, self._result.rows_in + 1, "rows")

    def _without(
        self, batch: pa.RecordBatch, misfits: Sequence[Misfit], rejects: Rejects, first_row: int
    ) -> pa.RecordBatch:
        """Move rows that do not fit to the rejects, or refuse them."""
        for misfit in misfits:
            row = batch.slice(misfit.position, 1).to_pylist()[0]
            row[misfit.column] = misfit.value
            where = ",".join(f"{name}={row[name]}" for name in self._key) or str(first_row + misfit.position + 1)
            if self._options.misfits == "fail":
                raise InvalidInputError(
                    f"{self._label}: column {misfit.column!r} has {misfit.value} ({misfit.reason}) in row {where}: "
                    "cast it in a query, or set misfits='quarantine' to put such rows aside"
                )
            rejects.add(where, misfit.reason, f"{misfit.column}={misfit.value}", text_of(row))
        keep = np.ones(batch.num_rows, dtype=bool)
        keep[[misfit.position for misfit in misfits]] = False
        return batch.filter(pa.array(keep))


def _ranges(snapshot: Snapshot, window: Window, key: Sequence[str], rows: int) -> list[tuple[str, ...]]:
    """Return the conditions of ranges of about equal size, in order; one range where that is not worth the search.

    The bounds are keys of rows, so they depend on the content alone and not on how many connections there are.
    """
    column = next((column for column in snapshot.columns if key and column.name == key[0]), None)
    indexed = bool(key) and tuple(key) == snapshot.key and not window.adds
    if column is None or not indexed or not any(test(column.type) for test in _RANGED):
        return [window.conditions]
    name = snapshot.column(column.name)
    texts: list[str] = []
    while (text := _next_bound(snapshot, window.conditions, column, texts[-1] if texts else None, rows)) is not None:
        texts.append(text)
    bounds = [snapshot.literal(text, column.type) for text in texts]
    lower = ["", *(f"{name} >= {bound}" for bound in bounds)]
    upper = [*(f"{name} < {bound}" for bound in bounds), ""]
    return [(*window.conditions, *(side for side in sides if side)) for sides in zip(lower, upper, strict=True)]


def _next_bound(
    snapshot: Snapshot, conditions: Sequence[str], column: Column, last: str | None, rows: int
) -> str | None:
    """Return the key that is ``rows`` rows behind the last bound, as text; ``None`` at the end."""
    name = snapshot.column(column.name)

    def search(comparison: str, skip: int) -> str | None:
        above = [] if last is None else [f"{name} {comparison} {snapshot.literal(last, column.type)}"]
        where = " AND ".join([*conditions, *above])
        found = snapshot.rows(
            f"SELECT {snapshot.as_text(column.expressions[0])} FROM {snapshot.relation}"
            f"{f' WHERE {where}' if where else ''} ORDER BY {name} LIMIT 1 OFFSET {skip}"
        )
        return str(found[0][0]) if found else None

    bound = search(">=", rows)
    # More rows than one range has may share the first part of the key.
    return search(">", 0) if bound is not None and bound == last else bound
