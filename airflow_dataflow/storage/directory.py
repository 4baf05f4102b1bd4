"""A folder on any file system, which no relative path can leave."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from airflow_dataflow.errors import InvalidInputError, NotFoundError, UnsupportedError
from airflow_dataflow.storage.backends import ArchiveState, Backend, backend_of, errors_explained, open_url
from airflow_dataflow.storage.backends.local import is_partial
from airflow_dataflow.storage.counting import CountedFile, ReadTally
from airflow_dataflow.storage.digest import CHUNK_BYTES, digest_of
from airflow_dataflow.storage.listing import FoundFile, list_pinned, modified_at
from airflow_dataflow.storage.overlay import Overlay
from airflow_dataflow.storage.writing import HashingWriter

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_dataflow.storage.packed import Packs
    from airflow_dataflow.storage.parts import Upload

_READ_BYTES = 8 << 20
"""What an object store is asked for at a time; fsspec's 50 MB would add up when several files are open."""

Answer = TypeVar("Answer")


class Directory:
    """A folder on an fsspec file system; files in packs look like others, see :mod:`airflow_dataflow.storage.layout`.

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
        self._above: tuple[Directory, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Counts belong to the process that opened the store; another one would count where nobody looks.
        return {name: value for name, value in self.__dict__.items() if name != "overlay"} | {"tally": None}

    @cached_property
    def overlay(self) -> Overlay:
        """What of the folder lies in packs."""
        return Overlay(self, self._above)

    def counted(self, tally: ReadTally) -> Directory:
        """Return this folder, with somebody who counts what is read."""
        same = Directory(self.fs, self.root, storage_class=self.storage_class, tally=tally)
        same._above = self._above
        return same

    @classmethod
    def from_url(
        cls, url: str, storage_options: dict[str, Any] | None = None, *, storage_class: str | None = None
    ) -> Directory:
        """Open the folder at ``url`` (``file:///…``, ``s3://bucket/…``) or at a local path.

        :param storage_options: what fsspec's file system of that scheme takes; never logged.
        :param storage_class: class that new files get; the store's own choice when ``None``.
        :raises InvalidInputError: when no file system has that scheme.
        :raises MissingPackageError: when its package is not installed.
        """
        return cls(*open_url(url, storage_options), storage_class=storage_class)

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

    def _goal(self, relative: str) -> str:
        """Return the path of a file to be written.

        :raises InvalidInputError: when it would take the place of a file of another name.
        """
        path, plain = self.path(relative), posixpath.normpath(relative)
        if relative != plain and (self.backend.has_folders or relative.endswith("/")):
            raise InvalidInputError(f"{relative!r} cannot be written in {self.url}, where it would be {plain!r}")
        return path

    def child(self, relative: str) -> Directory:
        """Return the folder ``relative`` below this one."""
        child = Directory(self.fs, self.path(relative), storage_class=self.storage_class, tally=self.tally)
        child._above = (self, relative)
        return child

    def parent(self) -> tuple[Directory, str]:
        """Return the folder that this one lies in, and its name there."""
        above, _, name = self.root.rpartition("/")
        return Directory(self.fs, above or "/", storage_class=self.storage_class), name

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
        packs = self.overlay.known(relative)
        if packs is not None:
            packs.check_pin(relative, pin)
        else:
            with errors_explained(relative, self.backend, self.path(relative)):
                self.backend.check_pin(self.path(relative), pin)

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

    @contextmanager
    def create(self, relative: str, *, exclusive: bool = False, expected_bytes: int = 0) -> Iterator[HashingWriter]:
        """Open a file for writing; it appears when the block ends without an error.

        :param exclusive: refuse to replace a file.
        :param expected_bytes: size of the file, as far as it is known.
        :raises FileExistsError: when ``exclusive`` and the file is there.
        :raises StorageFullError: when the store is full.
        """
        path = self._goal(relative)
        with errors_explained(relative, self.backend, path):
            writer: HashingWriter | None = None
            try:
                with self.backend.create(path, exclusive=exclusive, expected_bytes=expected_bytes) as file:
                    writer = HashingWriter(file)
                    yield writer
            except Exception as error:
                if writer is not None and writer.failure is not None and writer.failure is not error:
                    raise writer.failure from error
                raise
        self.overlay.written(relative)

    def put(self, relative: str, data: bytes | memoryview) -> str | bool | None:
        """Write a small file at once, see :meth:`Backend.put`."""
        path = self._goal(relative)
        with errors_explained(relative, self.backend, path):
            proof = self.backend.put(path, data)
        self.overlay.written(relative)
        return proof

    def begin_upload(self, relative: str, *, size: int, part_bytes: int) -> Upload:
        """Begin a file that is written in parts, see :meth:`Backend.begin_upload`."""
        path = self._goal(relative)
        with errors_explained(relative, self.backend, path):
            upload = self.backend.begin_upload(path, size=size, part_bytes=part_bytes)
        self.overlay.written(relative)
        return upload

    def resume_upload(self, relative: str, handle: str) -> Upload | None:
        """Return an upload that another process has begun, see :meth:`Backend.resume_upload`."""
        path = self._goal(relative)
        with errors_explained(relative, self.backend, path):
            upload = self.backend.resume_upload(path, handle)
        self.overlay.written(relative)
        return upload

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the sole right to write this folder; it ends with the block, or with the process.

        :returns: whether nobody else can write here now; ``False`` where the file system has no locks.
        :raises BusyError: when another process holds it.
        """
        with ExitStack() as stack:
            with errors_explained("the lock of the folder", self.backend, self.root):
                sole = stack.enter_context(self.backend.lock(self.root))
            yield sole

    def digest(self, relative: str) -> tuple[str, int]:
        """Read the file back and return its digest and size in bytes."""
        with self.open(relative) as file:
            return digest_of(file)

    def checksum(self, relative: str) -> str | None:
        """Return the checksum that the store itself keeps of a file, see :meth:`Backend.checksum`."""
        return self._either(relative, self.backend.checksum, lambda _packs: None)

    def copy(self, relative: str, target: Directory, target_relative: str) -> None:
        """Copy a file into another folder of the same file system, without moving its bytes through this process.

        Those of a file in packs do move through it.
        """
        goal = target._goal(target_relative)
        self._either(
            relative,
            lambda path: target.backend.copy(path, goal),
            lambda packs: target._fill(target_relative, packs.open(relative)),
            what=target_relative,
        )
        target.overlay.written(target_relative)
        if self.tally is not None:
            self.tally.count(self.path(relative), 0)

    def _fill(self, relative: str, file: BinaryIO) -> None:
        with file, self.create(relative) as writer:
            while chunk := file.read(CHUNK_BYTES):
                writer.write(chunk)

    def share(self, relative: str, target: Directory, target_relative: str) -> bool:
        """Make a file in another folder of the same file system out of the stored bytes of one in this folder.

        :returns: whether that was possible; ``False`` leaves everything as it was.
        """
        goal = target._goal(target_relative)
        shared = self._either(
            relative,
            lambda path: self.backend.share(path, goal),
            lambda _packs: False,
            what=target_relative,
        )
        if shared:
            target.overlay.written(target_relative)
            if self.tally is not None:
                self.tally.count(self.path(relative), 0)
        return shared

    def is_untouched(self, relative: str, *, since: str) -> bool:
        """Tell whether a file has surely not changed since another in this folder was written."""
        packed = self.overlay.known(relative) is not None
        return not packed and self.backend.is_untouched(self.path(relative), self.path(since))

    def archive_state(self, relative: str) -> ArchiveState:
        """Tell whether a file can be read now.

        :raises NotFoundError: when it is not there.
        """
        path = self.path(relative)
        with self._file_expected(relative, path):
            return self.backend.archive_state(path)

    def restore(self, relative: str, *, days: int, speed: str) -> None:
        """Ask the store to make an archived file readable, see :meth:`Backend.restore`.

        :raises NotFoundError: when it is not there.
        """
        path = self.path(relative)
        with self._file_expected(relative, path):
            self.backend.restore(path, days=days, speed=speed)

    @contextmanager
    def _file_expected(self, relative: str, path: str) -> Iterator[None]:
        with errors_explained(relative, self.backend, path):
            try:
                yield
            except FileNotFoundError as error:
                explained = self.backend.explain(error, relative, path)
                raise explained or NotFoundError(f"no file {relative!r} in {self.url}") from error

    def remove(self, relative: str) -> None:
        """Remove a file; one that is not there is no error."""
        self.remove_plain(relative)
        self.overlay.drop([relative])

    def remove_plain(self, relative: str) -> None:
        """Remove a file, unless it lies in packs; after that, a packed file of the same name counts."""
        path = self.path(relative)
        with errors_explained(relative, self.backend, path), suppress(FileNotFoundError):
            self.fs.rm_file(path)
        self.overlay.removed(relative)

    def remove_all(self) -> None:
        """Remove the folder and all that is in it; one that is not there is no error."""
        self.fs.invalidate_cache()
        with errors_explained("the folder", self.backend, self.root), suppress(FileNotFoundError):
            self.backend.remove_all(self.root)

    def probe(self) -> None:
        """Write a small file and remove it again; raise what a real write would raise."""
        name = f".probe-{uuid.uuid4().hex}"
        with self.create(name) as file:
            file.write(b"dataflow")
        self.remove(name)

    def remove_unfinished(self, before: datetime) -> list[str]:
        """Remove what killed writers left in this folder and no listing shows, untouched since ``before``."""
        with errors_explained("unfinished files", self.backend, self.root):
            return self.backend.remove_unfinished(self.root, before)

    def folders(self) -> list[str]:
        """Return the names of the folders right inside this one, sorted; none when it is absent.

        Symbolic links are no folders.
        """
        self.fs.invalidate_cache()
        try:
            with errors_explained("the list of folders", self.backend, self.root):
                inside = self.fs.ls(self.root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [info["name"].rstrip("/").rpartition("/")[2] for info in inside if info["type"] == "directory"]
        return sorted(names)

    def changed_at(self) -> datetime:
        """Return when something in this folder last changed, the long past when there is nothing.

        Folders count where the file system has them: an empty one may be the start of something.
        """
        self.fs.invalidate_cache()
        newest = datetime.min.replace(tzinfo=UTC)
        with errors_explained("the list of files", self.backend, self.root), suppress(FileNotFoundError):
            found = self.fs.find(self.root, withdirs=self.backend.has_folders, detail=True)
            if self.is_local:
                found[self.root] = {}
            for path, info in found.items():
                with suppress(FileNotFoundError):
                    newest = max(newest, self._changed_at(path, info))
        return newest

    def _changed_at(self, path: str, info: Mapping[str, Any]) -> datetime:
        told = modified_at(info)
        if told is not None:
            return datetime.fromtimestamp(told, UTC)
        if info.get("type") == "directory":
            return datetime.min.replace(tzinfo=UTC)
        # Most stores tell it in the listing; asking for each file takes a request each.
        changed = cast(datetime, self.fs.modified(path))
        return changed if changed.tzinfo else changed.replace(tzinfo=UTC)
