"""File systems: one file each, named after fsspec's protocol; the folder is the registry.

fsspec carries the bytes. A backend adds what fsspec lacks: a file that appears whole or not at all,
a copy that never leaves the store, and the free space. :class:`Backend` does all that for any fsspec
file system that can defer its commit; a file in this folder does better for one protocol.
"""

from __future__ import annotations

import importlib
import pkgutil
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from airflow_dataflow.errors import StorageFullError, is_out_of_space

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Backend:
    """What any fsspec file system can do, with the files it makes whole or absent.

    :param fs: the file system; its credentials are its own affair.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs = fs

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open ``path`` for writing; it appears, or replaces what was there, when the block ends without an error.

        :raises StorageFullError: when the store is full.
        """
        self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
        file = self.fs.open(path, "wb", autocommit=False)
        try:
            yield cast(BinaryIO, file)
            file.close()
        except BaseException:
            file.discard()
            raise
        file.commit()

    def copy(self, source: str, target: str) -> None:
        """Copy a file inside this file system, on the server's side where it can."""
        self.fs.makedirs(posixpath.dirname(target), exist_ok=True)
        self.fs.cp_file(source, target)

    def free_bytes(self, path: str) -> int | None:  # noqa: ARG002 - subclasses look
        """Return the free space where ``path`` lies, ``None`` where nobody can know."""
        return None


@contextmanager
def full_disk_explained(what: str, backend: Backend, path: str) -> Iterator[None]:
    """Turn the operating system's "no space left" into :class:`StorageFullError` with the numbers a person needs."""
    try:
        yield
    except OSError as error:
        if not is_out_of_space(error):
            raise
        free = backend.free_bytes(path)
        known = "" if free is None else f" ({free:,} bytes free)"
        raise StorageFullError(
            f"no space left while writing {what} to {path}{known}; free some space or give the tier a larger disk"
        ) from error


def backend_of(fs: AbstractFileSystem) -> Backend:
    """Return the backend for ``fs``: the file of this folder that is named after one of its protocols."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    known = {module.name for module in pkgutil.iter_modules(__path__)}
    for protocol in protocols:
        if protocol in known:
            module = importlib.import_module(f"{__name__}.{protocol}")
            return cast(Backend, module.BACKEND(fs))
    return Backend(fs)
