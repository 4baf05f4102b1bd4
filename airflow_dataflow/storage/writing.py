"""Files that know what was written to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from airflow_dataflow.storage.digest import Digest


class HashingWriter:
    """A file being written, which knows the digest and size of what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = Digest()
        self.bytes_written = 0
        self.closed = False
        self.rows: int | None = None
        """Rows of a table file; set it before the block ends."""
        self.failure: OSError | None = None
        """What went wrong while writing; libraries that write through this file wrap it beyond recognition."""

    @property
    def digest(self) -> str:
        """Digest of the bytes written so far."""
        return str(self._digest)

    def write(self, data: Any) -> int:
        """Write ``data`` (bytes or any buffer) and return its size in bytes."""
        view = memoryview(data).cast("B")
        with self._failure_kept():
            self._file.write(view)
        self._digest.update(view)
        self.bytes_written += len(view)
        return len(view)

    @contextmanager
    def _failure_kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise

    def tell(self) -> int:
        """Return the position, which is the number of bytes written."""
        return self.bytes_written

    def flush(self) -> None:
        """Hand buffered bytes to the file system."""
        with self._failure_kept():
            self._file.flush()

    def close(self) -> None:
        """Mark as closed; the block that opened the file decides its fate."""
        self.closed = True

    def writable(self) -> bool:
        """Return ``True``."""
        return True

    def readable(self) -> bool:
        """Return ``False``."""
        return False

    def seekable(self) -> bool:
        """Return ``False``."""
        return False
