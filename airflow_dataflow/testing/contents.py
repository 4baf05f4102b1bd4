"""What the tests of the contract write, and how they look at it."""

from __future__ import annotations

from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.writing import HashingWriter

MIB = 1 << 20
LARGE = bytes(range(256)) * (4096 * 21)
"""21 MiB, several parts of an upload."""


def digest(data: bytes) -> tuple[str, int]:
    """Return what ``Directory.digest`` says of a file with this content."""
    made = Digest()
    made.update(data)
    return str(made), len(data)


def as_another_process_sees(directory: Directory) -> Directory:
    """Return the same folder through a file system of its own."""
    return Directory.from_url(directory.url, {**directory.fs.storage_options, "skip_instance_cache": True})


def write(directory: Directory, path: str, data: bytes) -> None:
    """Write a file."""
    with directory.create(path) as writer:
        write_in_pieces(writer, data)


def write_in_pieces(writer: HashingWriter, data: bytes) -> None:
    """Write as libraries do, a piece at a time, so that a large file goes out in parts."""
    for start in range(0, len(data), MIB):
        writer.write(data[start : start + MIB])


def write_and_fail(directory: Directory, path: str, data: bytes) -> None:
    """Write a file, and fail before its block ends."""
    with directory.create(path) as writer:
        write_in_pieces(writer, data)
        raise ZeroDivisionError
