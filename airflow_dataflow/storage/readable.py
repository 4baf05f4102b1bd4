"""Reading a folder on any file system, which no relative path can leave; files in packs look like others."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.errors import InvalidInputError, NotFoundError, UnsupportedError
from airflow_dataflow.storage.backends import Backend, backend_of, errors_explained
from airflow_dataflow.storage.backends.local import is_partial
from airflow_dataflow.storage.counting import CountedFile, ReadTally
from airflow_dataflow.storage.digest import digest_of
from airflow_dataflow.storage.layout import LAYOUT_NAME
from airflow_dataflow.storage.listing import FoundFile, list_pinned
from airflow_dataflow.storage.overlay import Overlay
from airflow_dataflow.storage.packed import PACKED_STAMP

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_dataflow.storage.packed import Packs

_READ_BYTES = 8 << 20
"""What an object store is asked for at a time; fsspec's 50 MB would add up when several files are open."""

Answer = TypeVar("Answer")


class ReadableDirectory:
    """The files of a folder, for reading.

    :param fs: the file system.
    :param root: the folder's path as the file system knows it.
    :param storage_class: class that new files get, e.g. ``STANDARD_IA``; the store's own choice when ``None``.
    :param tally: counts what is read of its files; nobody does when ``None``.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        root: str,
        *,
        storage_class: str | None = None,
        tally: ReadTally | None = None,
    ) -> None:
        self.fs = fs
        self.root = root.rstrip("/") or "/"
        self.storage_class = storage_class
        self.tally = tally
        self._above: tuple[ReadableDirectory, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Counts belong to the process that opened the store; another one would count where nobody looks.
        return {name: value for name, value in self.__dict__.items() if name != "overlay"} | {"tally": None}

    @cached_property
    def overlay(self) -> Overlay:
        """What of the folder lies in packs."""
        return Overlay(self, self._above)

    @cached_property
    def backend(self) -> Backend:
        """What the file system can do beyond fsspec."""
        backend = backend_of(self.fs)
        if self.storage_class is not None:
            backend.write_as(self.storage_class)
        return backend

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

        :raises InvalidInputError: when it would lie outside the folder, be it by ``..`` or by a symbolic link.
        """
        parts = relative.split("/")
        if relative.startswith("/") or ".." in parts or "\0" in relative or not set(parts) - {"", "."}:
            raise InvalidInputError(f"path {relative!r} does not lie inside {self.url}")
        path = f"{self.root.rstrip('/')}/{relative}"
        if not self.backend.contains(self.root, path):
            raise InvalidInputError(f"path {relative!r} leads out of {self.url} through a symbolic link")
        return path

    def exists(self, relative: str) -> bool:
        """Tell whether the file ``relative`` is there; an error other than its absence is raised."""
        return self.size(relative) is not None

    def size(self, relative: str) -> int | None:
        """Return the size of a file in bytes, ``None`` when it is not there."""
        try:
            return self._either(
                relative, lambda path: int(self.fs.info(path)["size"]), lambda packs: packs.files[relative].bytes
            )
        except FileNotFoundError:
            return None

    def files(self) -> dict[str, int]:
        """Return every file below the folder, path to size in bytes, in the order of paths; empty when it is absent.

        Files that are being written at the moment are left out, and so are the empty keys that end in ``/``, by which
        the consoles of object stores make folders.
        """
        return {path: file.bytes for path, file in self.listing().items()}

    def listing(self) -> dict[str, FoundFile]:
        """Return what :meth:`files` returns, with the stamps that pin files, from one listing."""
        found = list_pinned(self.backend, self.root).files
        prefix = self.root.rstrip("/") + "/"
        plain = {path[len(prefix) :]: file for path, file in found.items() if path.startswith(prefix)}
        return self.overlay.merged(
            {
                path: file
                for path, file in plain.items()
                if path and not path.endswith("/") and not is_partial(posixpath.basename(path))
            }
        )

    def read(self, relative: str) -> bytes:
        """Return the content of a small file.

        :raises NotFoundError: when it is not there.
        """
        with self.open(relative) as file:
            return file.read()

    @contextmanager
    def open(self, relative: str) -> Iterator[BinaryIO]:
        """Open a file for reading.

        :raises NotFoundError: when it is not there.
        """
        path = self.path(relative)
        with errors_explained(relative, self.backend, path):
            with self._file_expected(relative, path):
                file = self._either(
                    relative,
                    lambda path: self.backend.open(path, block_size=_READ_BYTES),
                    lambda packs: packs.open(relative),
                )
            with file if self.tally is None else CountedFile(file, path, self.tally) as opened:
                yield cast(BinaryIO, opened)

    def read_range(self, relative: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of a file, see :meth:`Backend.read_range`.

        :raises NotFoundError: when it is not there.
        :raises SourceChangedError: when it is not as it was when :meth:`stamp` returned ``pin``.
        """
        path = self.path(relative)
        self._look_for(relative, pin)
        with self._file_expected(relative, path):
            data = self._either(
                relative,
                lambda path: self.backend.read_range(path, start, length, pin=pin),
                lambda packs: packs.read(relative, start, length, pin=pin),
            )
        if self.tally is not None:
            self.tally.count(path, len(data))
        return data

    def stamp(self, relative: str) -> str | None:
        """Return what differs after every change of a file, see :meth:`Backend.stamp`.

        :raises NotFoundError: when it is not there.
        """
        with self._file_expected(relative, self.path(relative)):
            return self._either(relative, self.backend.stamp, lambda packs: packs.stamp(relative))

    def check_pin(self, relative: str, pin: str | None) -> None:
        """Make sure that a file is as it was, see :meth:`Backend.check_pin`."""
        self._look_for(relative, pin)
        packs = self.overlay.known(relative)
        if packs is not None:
            packs.check_pin(relative, pin)
        else:
            with errors_explained(relative, self.backend, self.path(relative)):
                self.backend.check_pin(self.path(relative), pin)

    def _look_for(self, relative: str, pin: str | None) -> None:
        """Find out about the packs when a pin says that a file was in one: as a plain file it would seem removed."""
        if pin is not None and pin.startswith(PACKED_STAMP):
            self.overlay.look(relative)

    def _either(
        self, relative: str, plain: Callable[[str], Answer], packed: Callable[[Packs], Answer], *, what: str = ""
    ) -> Answer:
        """Return what ``plain`` returns for the path of a file, or ``packed`` when the file lies in packs."""
        packs = self.overlay.known(relative)
        if packs is not None:
            return packed(packs)
        path = self.path(relative)
        try:
            with errors_explained(what or relative, self.backend, path):
                return plain(path)
        except (FileNotFoundError, NotFoundError):
            packs = self.overlay.look(relative)
            if packs is None:
                raise
        return packed(packs)

    def is_packed(self, relative: str) -> bool:
        """Tell whether a file lies in packs, so that only this package can read it."""
        try:
            return self._either(relative, lambda path: self.fs.info(path) is None, lambda _packs: True)
        except FileNotFoundError:
            return False

    def stored(self) -> list[str]:
        """Return the files that hold the content of the folder: those of the layout where some lie in packs."""
        root = self.root.rstrip("/") + "/"
        found = [path.removeprefix(root) for path in list_pinned(self.backend, self.root).files]
        return [path for path in found if path != MANIFEST_NAME] if LAYOUT_NAME in found else []

    def hand_out(self, relative: str, *, expected_bytes: int) -> str:
        """Return the path of a file for somebody who reads all of it without this package, such as Spark.

        :param expected_bytes: size of the file; what counts as read.
        :raises UnsupportedError: when it lies in packs.
        """
        path = self.path(relative)
        if self.is_packed(relative):
            raise UnsupportedError(
                f"{relative} in {self.url} lies in packs, which only dataflow reads: copy the version to another tier "
                "first ('dataflow transfer VERSION TIER')"
            )
        if self.tally is not None:
            self.tally.count(path, expected_bytes)
        return path

    def digest(self, relative: str) -> tuple[str, int]:
        """Read the file back and return its digest and size in bytes."""
        with self.open(relative) as file:
            return digest_of(file)

    def checksum(self, relative: str) -> str | None:
        """Return the checksum that the store itself keeps of a file, see :meth:`Backend.checksum`."""
        return self._either(relative, self.backend.checksum, lambda _packs: None)

    @contextmanager
    def _file_expected(self, relative: str, path: str) -> Iterator[None]:
        with errors_explained(relative, self.backend, path):
            try:
                yield
            except FileNotFoundError as error:
                explained = self.backend.explain(error, relative, path)
                raise explained or NotFoundError(f"no file {relative!r} in {self.url}") from error

    def is_untouched(self, relative: str, *, since: str) -> bool:
        """Tell whether a file has surely not changed since another in this folder was written."""
        packed = self.overlay.known(relative) is not None
        return not packed and self.backend.is_untouched(self.path(relative), self.path(since))
