"""What a way to HDFS can do: the few requests that files and folders take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder, as the NameNode describes it."""

    path: str
    """Absolute path."""
    bytes: int
    """Size; 0 for a folder."""
    is_folder: bool
    """Whether it is a folder."""
    modified_milliseconds: int
    """When it was last closed after writing, in milliseconds since 1970."""
    owner: str
    """Its owner."""
    group: str
    """Its group."""
    mode: int
    """Its permissions."""
    block_bytes: int
    """Size of its blocks; 0 for a folder."""
    replication: int
    """Copies of each block; 0 for a folder."""


class Sink(Protocol):
    """A file that takes bytes."""

    def write(self, data: bytes) -> None:
        """Send bytes; an error may tell of earlier ones."""

    def close(self) -> None:
        """Return when all bytes are safe."""

    def abort(self) -> None:
        """Let go of the file, in whatever state it is."""


class Source(Protocol):
    """A part of a file that gives bytes, from its first to its last."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as it goes, and return how far; 0 at the end."""

    def close(self) -> None:
        """Let go of the connection."""


class HdfsClient(Protocol):
    """A way to HDFS. Errors are Python's own, or those of :mod:`airflow_dataflow.storage.hdfs.faults`."""

    checks_bytes: ClassVar[bool]
    """Whether checksums go along with all bytes, so that damaged ones are refused at the end of the way."""

    def info(self, path: str) -> Entry:
        """Describe a file or folder."""

    def children(self, path: str) -> list[Entry]:
        """Describe what lies right inside a folder; a file is its own list."""

    def tree(self, path: str) -> Iterator[Entry]:
        """Describe all that lies below a folder, folders too; a file is its own tree."""

    def make_folder(self, path: str) -> None:
        """Make a folder with all folders above it; one that is there is no error."""

    def rename(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename, and replace a file only if ``overwrite``."""

    def delete(self, path: str, *, recursive: bool) -> bool:
        """Delete, and return whether there was something."""

    def create(self, path: str) -> Sink:
        """Begin a file, in place of one that is there."""

    def append(self, path: str) -> Sink:
        """Go on with a file that nobody writes."""

    def recover(self, path: str) -> int | None:
        """End the writing of a client that is gone, and return the size of what it has left; ``None``: not yet."""

    def read(self, path: str, start: int, length: int) -> Source:
        """Read a part that lies inside a file."""
