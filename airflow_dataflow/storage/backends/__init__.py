"""File systems: one file each, named after fsspec's protocol; the folder is the registry.

fsspec carries the bytes. A backend adds what fsspec lacks: a file that appears whole or not at all, a copy that never
leaves the store, the sole right to write a folder, the free space, storage classes, what an archive needs before it can
be read, and errors that say what to do. :class:`Backend` does all that for any fsspec file system that can defer its
commit; a file in this folder does better for one protocol. Such a file has ``BACKEND``, a subclass, and may have
``FILE_SYSTEM``, the fsspec class to use in place of the one that fsspec knows for the protocol. Other packages add
backends through the entry-point group ``airflow_dataflow.backends``; an entry names the protocol and loads such a
module.
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from airflow_dataflow.errors import (
    AccessDeniedError,
    DataflowError,
    InvalidInputError,
    MissingPackageError,
    SourceChangedError,
    StorageFullError,
    UnsupportedError,
    did_you_mean,
    is_out_of_space,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_dataflow.storage.parts import Upload


GROUP = "airflow_dataflow.backends"
"""Entry-point group through which other packages add backends."""

ArchiveState = Literal["readable", "restoring", "archived"]
"""Whether a file can be read now, after a restore that is under way, or after one that somebody has to ask for."""


class Backend:
    """What any fsspec file system can do, with the files it makes whole or absent.

    :param fs: the file system; its credentials are its own affair.
    """

    storage_classes: tuple[str, ...] = ()
    """Names of the storage classes or policies that a file can have here, by the store's own names; none if empty."""
    has_folders: bool = True
    """Whether folders are things of their own; where they are only parts of keys, ``a//b`` is not ``a/b``."""
    copies_inside: bool = False
    """Whether :meth:`copy` moves no byte through this machine, and makes a file that shares its fate with no other."""
    small_files_at_once: int = 4
    """How many small files at a time are worth writing or reading; more where each one waits for its server."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs = fs

    def write_as(self, storage_class: str) -> None:
        """Give all files that are written through this backend a storage class from the start.

        :raises UnsupportedError: when the store has no storage classes for single new files.
        :raises InvalidInputError: when it has no such class, or one in which files cannot be verified.
        """
        raise UnsupportedError(
            f"{self.fs.unstrip_protocol('')} gives new files no storage class of their own, such as {storage_class!r}: "
            "set that of their folder by SetStoragePolicyOperator"
        )

    @contextmanager
    def create(self, path: str, *, exclusive: bool = False, expected_bytes: int = 0) -> Iterator[BinaryIO]:
        """Open ``path`` for writing; it appears, or replaces what was there, when the block ends without an error.

        :param exclusive: refuse to replace a file.
        :param expected_bytes: size of the file, as far as it is known; a store may cut its parts by it.
        :raises FileExistsError: when ``exclusive`` and the file is there, at the latest when the block ends.
        """
        self.make_folder(posixpath.dirname(path))
        file = self._open(path, exclusive=exclusive, expected_bytes=expected_bytes)
        try:
            yield cast(BinaryIO, file)
            self._publish(file, path, exclusive=exclusive)
        except BaseException:
            # What cannot be taken back now, the sweep finds; the error that led here says more.
            with suppress(Exception):
                file.discard()
            with suppress(AttributeError):
                # fsspec's own kind of file closes itself when it is forgotten, and closing writes.
                file.closed = True
            raise

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:  # noqa: ARG002 - subclasses look
        file = self.fs.open(path, "wb", autocommit=False)
        with suppress(ValueError):
            # fsspec keeps the file, with all that it buffers, for the end of a transaction that nobody began.
            self.fs.transaction.files.remove(file)
        return file

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:
        file.close()
        if exclusive and self.fs.exists(path):
            raise FileExistsError(f"{path} exists already")
        file.commit()

    def open(self, path: str, *, block_size: int) -> BinaryIO:
        """Open a file for reading.

        :param block_size: bytes that are asked for at a time.
        :raises FileNotFoundError: when it is not there.
        """
        return cast(BinaryIO, self.fs.open(path, "rb", block_size=block_size))

    def read_range(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of a file, from a request of their own; safe to call from several threads.

        :param start: first byte, from 0.
        :param length: number of bytes; fewer come where the file ends.
        :param pin: what :meth:`stamp` said of the file; bytes of another state of it are refused.
        :raises SourceChangedError: when the file is not as it was, or gone, and ``pin`` is given.
        """
        try:
            data = cast(bytes, self.fs.cat_file(path, start=start, end=start + length))
        except FileNotFoundError:
            self.check_pin(path, pin)
            raise
        self.check_pin(path, pin)
        return data

    def check_pin(self, path: str, pin: str | None) -> None:
        """Make sure that a file is as it was.

        :param pin: what :meth:`stamp` said of it; ``None`` checks nothing.
        :raises SourceChangedError: when it is not, or gone.
        """
        if pin is None:
            return
        try:
            now = self.stamp(path)
        except FileNotFoundError:
            now = None
        if now != pin:
            raise SourceChangedError(
                f"{self.fs.unstrip_protocol(path)} was {'removed' if now is None else 'replaced'} while it was being "
                "copied; nothing of it was published: run the transfer again when nobody writes there"
            )

    def put(self, path: str, data: bytes | memoryview) -> str | bool:
        """Write a small file at once, in place of one that is there.

        :returns: its stamp when the store has proved, by a checksum of its own, that all of it arrived unharmed;
            ``True`` when it has, but tells no stamp; ``False`` when the file has to be read back.
        """
        with self.create(path, expected_bytes=len(data)) as file:
            file.write(data)
        return False

    def part_bytes(self, size: int) -> int | None:  # noqa: ARG002 - subclasses look
        """Return the size of the parts in which a file of ``size`` bytes is best written, ``None`` without parts."""
        return None

    def begin_upload(self, path: str, *, size: int, part_bytes: int) -> Upload:
        """Begin a file of ``size`` bytes that is written in parts of ``part_bytes``, see :meth:`part_bytes`."""
        raise UnsupportedError(f"{self.fs.unstrip_protocol(path)} takes no parts, such as {part_bytes} of {size} bytes")

    def resume_upload(self, path: str, handle: str) -> Upload | None:  # noqa: ARG002 - subclasses look
        """Return the upload that another process has begun, ``None`` when it is gone.

        :param handle: :attr:`Upload.handle` of that upload; it may come from an older release, or from somebody else.
        """
        return None

    def make_folder(self, path: str) -> None:
        """Make sure that files can be created in ``path``."""
        self.fs.makedirs(path, exist_ok=True)

    def copy(self, source: str, target: str) -> None:
        """Copy a file inside this file system, on the server's side where it can."""
        self.make_folder(posixpath.dirname(target))
        self.fs.cp_file(source, target)

    def share(self, source: str, target: str) -> bool:  # noqa: ARG002 - subclasses look
        """Make a file out of the stored bytes of another, so that no byte is copied that could be damaged on the way.

        :returns: whether that was possible; ``False`` leaves everything as it was.
        :raises FileNotFoundError: when ``source`` is not there.
        """
        return False

    def is_untouched(self, path: str, since: str) -> bool:  # noqa: ARG002 - subclasses look
        """Tell whether a file has surely not changed since the file ``since`` was written; ``False`` if in doubt."""
        return False

    def remove_all(self, path: str) -> None:
        """Remove a folder and all that is in it.

        :raises FileNotFoundError: when it is not there.
        """
        self.fs.rm(path, recursive=True)

    @contextmanager
    def lock(self, path: str) -> Iterator[bool]:  # noqa: ARG002 - subclasses look
        """Hold the sole right to write the folder ``path``; it ends with the block, or with the process.

        :returns: whether nobody else can write there now; ``False`` where the file system has no locks.
        :raises BusyError: when another process holds it.
        """
        yield False

    def contains(self, root: str, path: str) -> bool:  # noqa: ARG002 - subclasses look
        """Tell whether ``path``, which is below ``root`` by its name, is so in truth."""
        return True

    def free_bytes(self, path: str) -> int | None:  # noqa: ARG002 - subclasses look
        """Return the free space where ``path`` lies, ``None`` where nobody can know."""
        return None

    def capacity_bytes(self, path: str) -> int | None:  # noqa: ARG002 - subclasses look
        """Return the size of the file system or quota that ``path`` lies in, ``None`` where there is no limit."""
        return None

    def stamp(self, path: str) -> str | None:
        """Return what differs after every change of a file's content, without reading it; ``None`` if nothing does.

        An ETag, a checksum that the store keeps, or time of change and size.

        :raises FileNotFoundError: when it is not there.
        """
        return self.stamp_in(self.fs.info(path))

    def stamp_in(self, info: Mapping[str, Any]) -> str | None:
        """Return what :meth:`stamp` says of a file, out of its description in a listing; no request is made."""
        return stamp_of(info)

    def checksum_in(self, stamp: str) -> str | None:  # noqa: ARG002 - subclasses look
        """Return a checksum of a file's content that its stamp seems to be, ``None`` if it looks like none.

        No request is made, so it may be mistaken: :meth:`checksum` knows.
        """
        return None

    def checksum(self, path: str) -> str | None:
        """Return a checksum of a file's content that the store keeps itself, ``None`` where it keeps none.

        Two files of one kind of store with equal checksums have equal bytes; with different ones they still may.

        :raises FileNotFoundError: when it is not there.
        """
        del path
        return None

    def storage_class(self, path: str) -> str | None:
        """Return the storage class or policy of a file or folder, ``None`` where there is no such thing."""
        del path
        return None

    def set_storage_class(self, path: str, name: str) -> int:
        """Give a file, or all that lies below a folder, a storage class or policy; the bytes follow by :meth:`satisfy`.

        Doing it again changes nothing.

        :param name: one of :attr:`storage_classes`.
        :returns: number of files that got another class.
        :raises UnsupportedError: when the store has no storage classes.
        :raises InvalidInputError: when it has no such class.
        """
        self._check_storage_class(name)
        raise UnsupportedError(f"{self.fs.unstrip_protocol(path)} has no storage classes to set, such as {name!r}")

    def satisfy(self, path: str) -> bool:  # noqa: ARG002 - subclasses look
        """Let the store move the bytes of a file or folder to where their storage class wants them.

        :returns: whether that happens, now or soon; ``False`` where an administrator has to see to it.
        """
        return True

    def _check_storage_class(self, name: str) -> None:
        if self.storage_classes and name not in self.storage_classes:
            raise InvalidInputError(f"no storage class named {name!r}{did_you_mean(name, self.storage_classes)}")

    def snapshot(self, path: str, name: str) -> AbstractContextManager[str]:
        """Keep a folder as it is now while the block runs, whoever writes there, under the path that this returns.

        :param name: name of the snapshot; one of that name, which a killed process has left, is replaced.
        :raises UnsupportedError: when the store has no snapshots.
        :raises InvalidInputError: when the folder may have none.
        """
        raise UnsupportedError(f"{self.fs.unstrip_protocol(path)} cannot keep a snapshot, such as {name!r}")

    def archive_state(self, path: str) -> ArchiveState:
        """Tell whether a file can be read now.

        :raises FileNotFoundError: when it is not there.
        """
        self.fs.info(path)
        return "readable"

    def restore(self, path: str, *, days: int, speed: str) -> None:
        """Ask the store to make an archived file readable; doing it again, or for a readable file, changes nothing.

        :param days: how long the readable copy is wanted.
        :param speed: the store's own name of how fast, e.g. ``Bulk``, ``Standard`` or ``Expedited``.
        :raises FileNotFoundError: when it is not there.
        """
        self.fs.info(path)
        del days, speed

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:  # noqa: ARG002 - subclasses look
        """Remove what killed writers left below ``root`` and no listing shows, untouched since ``before``.

        :returns: what was removed.
        """
        return []

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Return an error that says what to do, ``None`` when ``error`` says enough.

        :param error: what the file system raised.
        :param what: name of the file that was being read or written, as a person knows it.
        :param path: its path on the file system.
        """
        if is_out_of_space(error):
            free = self.free_bytes(posixpath.dirname(path))
            known = "" if free is None else f"; without the unfinished file, {free:,} bytes are free there"
            return StorageFullError(
                f"no space left while writing {what} to {path}{known}: delete something, or give it a larger disk"
            )
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
            return AccessDeniedError(f"{what} at {path} is refused ({error}): let this user write there")
        return None


@contextmanager
def errors_explained(what: str, backend: Backend, path: str) -> Iterator[None]:
    """Let the backend turn errors of the file system into such that say what to do."""
    try:
        yield
    except DataflowError:
        raise
    except Exception as error:
        explained = backend.explain(error, what, path)
        if explained is None:
            raise
        raise explained from error


def stamp_of(info: Mapping[str, Any]) -> str | None:
    """Return what differs after a change of the file that fsspec describes by ``info``, ``None`` if nothing does."""
    for key in ("ETag", "etag", "mtime", "modified", "LastModified", "last_modified"):
        if info.get(key) is not None:
            return f"{key}:{info[key]}"
    return None


def open_url(url: str, storage_options: Mapping[str, Any] | None = None) -> tuple[AbstractFileSystem, str]:
    """Return the file system that a URL or local path names, and the path there.

    :param url: e.g. ``file:///data``, ``s3://bucket/prefix`` or ``/data``.
    :param storage_options: what the file system of that scheme takes; never logged.
    :raises InvalidInputError: when no file system has that scheme.
    :raises MissingPackageError: when its package is not installed.
    """
    import fsspec

    scheme, separator, _ = url.partition("://")
    if not separator:
        return fsspec.filesystem("file"), os.path.abspath(url)  # noqa: PTH100 - Path keeps ".." as it is
    # A listing that is remembered hides what other processes write; local file systems remember none.
    options: dict[str, Any] = {} if scheme in ("file", "local") else {"use_listings_cache": False}
    options |= storage_options or {}
    try:
        kind = getattr(_module(_protocols(scheme)), "FILE_SYSTEM", None)
        if kind is None:
            fs, root = fsspec.url_to_fs(url, **options)
            return fs, cast(str, root)
        return kind(**(kind._get_kwargs_from_urls(url) | options)), kind._strip_protocol(url)  # noqa: SLF001 - as fsspec
    except ImportError as error:
        raise MissingPackageError(f"{scheme}:// needs a package that is not installed: {error}") from error
    except DataflowError:
        raise
    except ValueError as error:
        raise InvalidInputError(f"{url!r} names no place: {error}") from error


def backend_of(fs: AbstractFileSystem) -> Backend:
    """Return the backend for ``fs``: the module that is named after one of its protocols, or the general one."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    module = _module(protocols)
    return Backend(fs) if module is None else cast(Backend, module.BACKEND(fs))


def _module(protocols: tuple[str, ...]) -> ModuleType | None:
    for protocol in protocols:
        if protocol in _builtin():
            return importlib.import_module(f"{__name__}.{protocol}")
    # Looking through what is installed takes milliseconds, so it comes last.
    for entry in entry_points(group=GROUP):
        if entry.name in protocols:
            return cast(ModuleType, entry.load())
    return None


def _protocols(scheme: str) -> tuple[str, ...]:
    """Return all names of a protocol that has several, such as ``gs`` and ``gcs``."""
    import fsspec

    if scheme in _builtin() or scheme not in fsspec.available_protocols():
        return (scheme,)
    names = fsspec.get_filesystem_class(scheme).protocol
    return (names,) if isinstance(names, str) else tuple(names)


@cache
def _builtin() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
