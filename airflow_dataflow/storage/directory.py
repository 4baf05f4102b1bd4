"""A folder on any file system, which no relative path can leave."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.backends import Backend, backend_of, full_disk_explained
from airflow_dataflow.storage.digest import Digest, digest_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class HashingWriter:
    """A file being written, which knows the digest and size of what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = Digest()
        self.bytes_written = 0
        self.closed = False
        self.rows: int | None = None
        """Rows of a table file; set it before the block ends."""

    @property
    def digest(self) -> str:
        """Digest of the bytes written so far."""
        return str(self._digest)

    def write(self, data: Any) -> int:
        """Write ``data`` (bytes or any buffer) and return its size in bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self.bytes_written += len(view)
        return len(view)

    def tell(self) -> int:
        """Return the position, which is the number of bytes written."""
        return self.bytes_written

    def flush(self) -> None:
        """Hand buffered bytes to the file system."""
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


class Directory:
    """A folder on an fsspec file system.

    :param fs: the file system.
    :param root: the folder's path as the file system knows it.
    """

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self.fs = fs
        self.root = root.rstrip("/") or "/"

    @classmethod
    def from_url(cls, url: str, storage_options: dict[str, Any] | None = None) -> Directory:
        """Open the folder at ``url`` (``file:///…``, ``s3://bucket/…``) or at a local path.

        :param storage_options: what fsspec's file system of that scheme takes; never logged.
        """
        import fsspec

        if "://" not in url:
            return cls(fsspec.filesystem("file"), os.path.abspath(url))  # noqa: PTH100 - Path keeps ".." as it is
        fs, root = fsspec.url_to_fs(url, **(storage_options or {}))
        return cls(fs, root)

    @cached_property
    def backend(self) -> Backend:
        """What the file system can do beyond fsspec."""
        return backend_of(self.fs)

    @property
    def url(self) -> str:
        """The folder's URL."""
        return cast(str, self.fs.unstrip_protocol(self.root))

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a mounted file system of this machine."""
        return "file" in ((self.fs.protocol,) if isinstance(self.fs.protocol, str) else self.fs.protocol)

    def path(self, relative: str) -> str:
        """Return the file system's path of ``relative``.

        :raises InvalidInputError: when it would lie outside the folder.
        """
        normal = posixpath.normpath(relative)
        if not relative or normal.startswith(("/", "..")) or normal == "." or "\\" in relative or "\0" in relative:
            raise InvalidInputError(f"path {relative!r} does not lie inside {self.url}")
        return posixpath.join(self.root, normal)

    def child(self, relative: str) -> Directory:
        """Return the folder ``relative`` below this one."""
        return Directory(self.fs, self.path(relative))

    def parent(self) -> tuple[Directory, str]:
        """Return the folder that this one lies in, and its name there."""
        above, _, name = self.root.rpartition("/")
        return Directory(self.fs, above or "/"), name

    def exists(self, relative: str) -> bool:
        """Tell whether the file ``relative`` is there; an error other than its absence is raised."""
        try:
            self.fs.info(self.path(relative))
        except FileNotFoundError:
            return False
        return True

    def files(self) -> dict[str, int]:
        """Return every file below the folder, path to size in bytes, in the order of paths; empty when it is absent."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.find(self.root, detail=True)
        except FileNotFoundError:
            return {}
        prefix = self.root.rstrip("/") + "/"
        sizes = {path[len(prefix) :]: int(info["size"]) for path, info in found.items() if path.startswith(prefix)}
        return dict(sorted(sizes.items()))

    def read(self, relative: str) -> bytes:
        """Return the content of a small file.

        :raises NotFoundError: when it is not there.
        """
        try:
            return cast(bytes, self.fs.cat_file(self.path(relative)))
        except FileNotFoundError as error:
            raise NotFoundError(f"no file {relative!r} in {self.url}") from error

    @contextmanager
    def open(self, relative: str) -> Iterator[BinaryIO]:
        """Open a file for reading.

        :raises NotFoundError: when it is not there.
        """
        try:
            file = self.fs.open(self.path(relative), "rb")
        except FileNotFoundError as error:
            raise NotFoundError(f"no file {relative!r} in {self.url}") from error
        with file:
            yield cast(BinaryIO, file)

    @contextmanager
    def create(self, relative: str) -> Iterator[HashingWriter]:
        """Open a file for writing; it appears when the block ends without an error.

        :raises StorageFullError: when the store is full.
        """
        path = self.path(relative)
        with full_disk_explained(relative, self.backend, path), self.backend.create(path) as file:
            yield HashingWriter(file)

    def digest(self, relative: str) -> tuple[str, int]:
        """Read the file back and return its digest and size in bytes."""
        with self.open(relative) as file:
            return digest_of(file)

    def remove(self, relative: str) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            self.fs.rm_file(self.path(relative))
        except FileNotFoundError:
            return

    def remove_all(self) -> None:
        """Remove the folder and all that is in it; one that is not there is no error."""
        try:
            self.fs.rm(self.root, recursive=True)
        except FileNotFoundError:
            return
