"""A folder on any file system, which no relative path can leave."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.storage.backends import ArchiveState, errors_explained, open_url
from airflow_dataflow.storage.counting import ReadTally
from airflow_dataflow.storage.digest import CHUNK_BYTES
from airflow_dataflow.storage.layout import LAYOUT_NAME
from airflow_dataflow.storage.listing import modified_at
from airflow_dataflow.storage.readable import ReadableDirectory
from airflow_dataflow.storage.writing import HashingWriter

if TYPE_CHECKING:
    from airflow_dataflow.storage.parts import Upload


class Directory(ReadableDirectory):
    """A folder on an fsspec file system; files in packs look like others, see :mod:`airflow_dataflow.storage.layout`.

    Its parameters are those of :class:`~airflow_dataflow.storage.readable.ReadableDirectory`.
    """

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

    def remove(self, relative: str) -> None:
        """Remove a file; one that is not there is no error."""
        self.remove_plain(relative)
        with self.overlay.without(relative) as data:
            if data is not None:
                with self.create(LAYOUT_NAME) as writer:
                    writer.write(data)

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
