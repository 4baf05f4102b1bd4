"""Rows that could not be read: named, counted and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

RULE = "ingest"
"""What the column ``rule`` of the quarantine says for rows that ingest refused."""
QUARANTINE = pa.schema([(name, pa.string()) for name in ("row_id", "rule", "reason", "value", "raw")])

_FLUSH_BYTES = 8 << 20
_ROW_BYTES = 400  # what Python's objects for one row take beside its text


class Rejects:
    """The bad rows of one file, kept on disk beyond a few megabytes.

    :param name: the file's path below the source.
    :param path: scratch file to write to.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.counts: Counter[str] = Counter()
        """Rows by reason."""
        self._name = name
        self._path = path
        self._rows: list[tuple[str, str, str, str, str]] = []
        self._held_bytes = 0
        self._writer: pa.RecordBatchStreamWriter | None = None

    def add(self, line: int | str, reason: str, value: str, raw: str) -> None:
        """Take one bad row.

        :param line: line, row number or key at which it is found.
        :param reason: name of what is wrong, such as ``malformed_row``.
        :param value: what was found, and what was expected.
        :param raw: the row as it was, readable.
        """
        self.counts[reason] += 1
        self._rows.append((f"{self._name}:{line}", RULE, reason, value, raw))
        self._held_bytes += len(raw) + len(value) + _ROW_BYTES
        if self._held_bytes > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pa.ipc.new_stream(str(self._path), QUARANTINE)
        self._writer.write_batch(self._batch())

    def _batch(self) -> pa.RecordBatch:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(QUARANTINE)
        self._rows, self._held_bytes = [], 0
        return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=QUARANTINE)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows in the order in which they came; nothing can be added afterwards."""
        if self._writer is not None:
            self._writer.close()
            with pa.ipc.open_stream(str(self._path)) as stored:
                yield from stored
        if self._rows:
            yield self._batch()
