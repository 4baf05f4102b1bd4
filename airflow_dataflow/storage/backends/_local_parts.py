"""Files of a local file system that are written in parts: preallocated beside their target, renamed when whole."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from airflow_dataflow.errors import SourceChangedError
from airflow_dataflow.storage.parts import LostUploadError, Parts, Upload, sealed, unsealed

_HANDLE = re.compile(r"([0-9a-f]{32}) (\d{1,19}) ([1-9]\d{0,18})", re.ASCII)
_NO_SPACE_TO_RESERVE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class LocalUpload(Upload):
    """A hidden file of the final size, into which each part is written at its place.

    :param target: the file in the making.
    :param number: what the hidden file is named after, 32 hexadecimal digits.
    :param parts: where its parts lie.
    """

    def __init__(self, target: Path, number: str, parts: Parts) -> None:
        self._target = target
        self._partial = target.with_name(partial_name(number))
        self._number = number
        self._parts = parts

    @classmethod
    def begin(cls, target: Path, parts: Parts) -> LocalUpload:
        """Make the hidden file, with all the space that it will need.

        :raises OSError: when there is not so much space.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        upload = cls(target, uuid.uuid4().hex, parts)
        descriptor = os.open(upload._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _reserve(descriptor, parts.size)
        except BaseException:
            upload.discard()
            raise
        finally:
            os.close(descriptor)
        return upload

    @classmethod
    def resume(cls, target: Path, handle: str) -> LocalUpload | None:
        """Return the upload of ``target`` that has this handle, ``None`` when there is none.

        It can name no file but a hidden one beside the target.
        """
        words = _HANDLE.fullmatch(unsealed(target.name, handle) or "")
        if words is None:
            return None
        upload = cls(target, words[1], Parts(int(words[2]), int(words[3])))
        try:
            status = upload._partial.lstat()
        except FileNotFoundError:
            return None
        return upload if stat.S_ISREG(status.st_mode) and status.st_size == upload._parts.size else None

    @property
    def handle(self) -> str:
        """Which hidden file it is, its size, and that of its parts."""
        return sealed(self._target.name, self._number, self._parts.size, self._parts.part_bytes)

    def put(self, number: int, data: bytes | memoryview) -> str:
        """Write a part at its place; the token is its size."""
        self._parts.check(number, len(data))
        view, place = memoryview(data), self._parts.start(number)
        with self._opened(os.O_WRONLY) as descriptor:
            while view:
                written = os.pwrite(descriptor, view, place)
                view, place = view[written:], place + written
            if hasattr(os, "posix_fadvise"):
                # Linux begins to write to the disk at that, so that publishing need not wait for all of it.
                os.posix_fadvise(descriptor, self._parts.start(number), len(data), os.POSIX_FADV_DONTNEED)
        return str(len(data))

    def read(self, number: int) -> bytes:
        """Return what the hidden file holds of a part."""
        with self._opened(os.O_RDONLY) as descriptor:
            return read_from(descriptor, self._parts.start(number), self._parts.length(number))

    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Bring all of it to the disk, and rename it."""
        self._parts.check_all(len(tokens))
        with self._opened(os.O_WRONLY) as descriptor:
            os.fsync(descriptor)
        if exclusive:
            rename_to_new(self._partial, self._target)
            self.discard()
        else:
            self._partial.replace(self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        """Remove the hidden file."""
        self._partial.unlink(missing_ok=True)

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        # Opened for each part: an upload that nobody ends would keep a descriptor as long as the process lives.
        try:
            descriptor = os.open(self._partial, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise LostUploadError(f"the unfinished file of {self._target} is gone; begin it again") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def partial_name(number: str) -> str:
    """Return the name of the hidden file with that number of 32 hexadecimal digits."""
    return f".{number}.partial"


def read_range(path: Path, start: int, length: int, pin: str | None) -> bytes:
    """Return bytes of a file, and make sure that it was as ``pin`` says after they were read.

    :raises SourceChangedError: when it is not, or gone, and ``pin`` is given.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if pin is None:
            raise
        raise _changed(path, "removed") from None
    try:
        data = read_from(descriptor, start, length)
        if pin is not None and stamp_of(os.fstat(descriptor)) != pin:
            raise _changed(path, "replaced")
    finally:
        os.close(descriptor)
    return data


def read_from(descriptor: int, start: int, length: int) -> bytes:
    """Return ``length`` bytes of an open file from ``start`` on, fewer where it ends."""
    data = os.pread(descriptor, length, start)
    if len(data) == length or not data:
        return data
    pieces = [data]
    # The kernel reads 2 GiB at most in one call, and network file systems may give less.
    while data := os.pread(descriptor, length - sum(map(len, pieces)), start + sum(map(len, pieces))):
        pieces.append(data)
    return b"".join(pieces)


def stamp_of(status: os.stat_result) -> str:
    """Return time of change, size and number of a file: a rename brings another file, a rewrite another time."""
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"


def rename_to_new(partial: Path, target: Path) -> None:
    """Give a file a name that no other has yet.

    :raises FileExistsError: when one has.
    """
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here, so nothing is atomic but a rename; the lock on the folder keeps others away.
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        partial.replace(target)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _changed(path: Path, what: str) -> SourceChangedError:
    return SourceChangedError(
        f"{path} was {what} while it was being copied; nothing of it was published: run the transfer again when nobody "
        "writes there"
    )


def _reserve(descriptor: int, size: int) -> None:
    """Give an open file its size, and its space where the file system can set space aside."""
    if size and _fallocate()(descriptor, 0, 0, size):
        number = ctypes.get_errno()
        if number not in _NO_SPACE_TO_RESERVE:
            raise OSError(number, os.strerror(number))
    os.ftruncate(descriptor, size)


@cache
def _fallocate() -> ctypes._NamedFuncPointer:
    """Return the kernel's own call: C's library writes a byte to every block where the kernel cannot, as on NFS 3."""
    call = ctypes.CDLL(None, use_errno=True).fallocate64
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return call
