"""Counting what is read of files, while it is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO

from airflow_dataflow.datasets.catalog.reads import Purpose, Read, Reader


class ReadTally:
    """What is read of one version on one tier; several threads may count at once.

    :param begun: called when the first file is counted, and the first one after each :meth:`take`.
    :param dataset: name of the dataset.
    :param version: version id.
    :param tier: name of the tier.
    :param purpose: why it is read.
    """

    def __init__(
        self, begun: Callable[[ReadTally], None], *, dataset: str, version: str, tier: str, purpose: Purpose
    ) -> None:
        self._begun = begun
        self._what: dict[str, Any] = {"dataset": dataset, "version": version, "tier": tier, "purpose": purpose}
        self._lock = threading.Lock()
        self._at: datetime | None = None
        self._bytes = 0
        self._files: set[str] = set()

    def count(self, path: str, size: int) -> None:
        """Add ``size`` bytes that were read of the file ``path``; 0 for one whose bytes the file system copied."""
        with self._lock:
            first = self._at is None
            self._at = self._at or datetime.now(UTC)
            self._bytes += size
            self._files.add(path)
        if first:
            self._begun(self)

    def take(self, reader: Reader) -> Read:
        """Return what was counted, and begin anew."""
        with self._lock:
            at = self._at or datetime.now(UTC)
            read = Read(**self._what, at=at, bytes=self._bytes, files=len(self._files), reader=reader)
            self._at, self._bytes, self._files = None, 0, set()
        return read


class CountedFile(io.RawIOBase):
    """A file being read, whose bytes are counted.

    :param file: the file.
    :param path: its name.
    :param tally: what counts.
    """

    def __init__(self, file: BinaryIO, path: str, tally: ReadTally) -> None:
        super().__init__()
        self._file = file
        self._path = path
        self._tally = tally

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes, all that is left when negative or ``None``."""
        return self._counted(self._file.read(-1 if size is None else size))

    def readall(self) -> bytes:
        """Read all that is left."""
        return self.read()

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line."""
        return self._counted(self._file.readline(-1 if size is None else size))

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _counted(self, data: bytes) -> bytes:
        self._tally.count(self._path, len(data))
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Tell whether the file can go to a position."""
        return self._file.seekable()

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
            super().close()
