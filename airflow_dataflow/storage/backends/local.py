"""Local file systems: a rename publishes, a copy shares its blocks where it can, a lock ends with its process."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from airflow_dataflow.errors import BusyError, DataflowError, is_out_of_space
from airflow_dataflow.storage.backends import Backend
from airflow_dataflow.storage.backends._local_parts import (
    LocalUpload,
    partial_name,
    read_range,
    rename_to_new,
    stamp_of,
    sync_folder,
)
from airflow_dataflow.storage.parts import Parts

_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial")
_LOCK_SUFFIX = ".dataflow-lock"
_FICLONE = 0x40049409
"""Number of the request to the kernel that makes one file share the blocks of another."""
_RANGE_BYTES = 1 << 30
_PART_BYTES = 16 << 20
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})


class LocalBackend(Backend):
    """A mounted file system of this machine."""

    @contextmanager
    def create(self, path: str, *, exclusive: bool = False, expected_bytes: int = 0) -> Iterator[BinaryIO]:  # noqa: ARG002
        """Write beside ``path``, flush to the disk, rename: a crash leaves the old file or the new one."""
        target = Path(path)
        with _beside(target) as partial:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if exclusive:
                rename_to_new(partial, target)
            else:
                partial.replace(target)
        sync_folder(target.parent)

    def part_bytes(self, size: int) -> int:  # noqa: ARG002 - it fits all
        """Return the size of the parts of any file."""
        return _PART_BYTES

    def begin_upload(self, path: str, *, size: int, part_bytes: int) -> LocalUpload:
        """Begin a file beside its target, with all its space."""
        return LocalUpload.begin(Path(path), Parts(size, part_bytes))

    def resume_upload(self, path: str, handle: str) -> LocalUpload | None:
        """Return an upload whose hidden file is still there."""
        return LocalUpload.resume(Path(path), handle)

    def read_range(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of a file, and look at the same open file whether it is as it was."""
        return read_range(Path(path), start, length, pin)

    def copy(self, source: str, target: str) -> None:
        """Share the bytes, or have the kernel copy them where nothing can be shared, as between two disks."""
        if self.share(source, target):
            return
        with _beside(Path(target)) as partial:
            _copy_bytes(Path(source), partial)
            partial.replace(target)
        sync_folder(Path(target).parent)

    def share(self, source: str, target: str) -> bool:
        """Share the blocks by a reflink (XFS, Btrfs), or else the whole file by a hard link (ext4).

        A reflink is a file of its own: who rewrites or damages one does not touch the other. A hard link is the same
        file under two names. It is good enough where there are no reflinks, since files of a version are replaced by a
        rename and never rewritten, and it costs neither time nor space; a store whose tiers have to survive each other
        has them on different disks anyway.
        """
        with _beside(Path(target)) as partial:
            if not (_reflink(Path(source), partial) or _hard_link(Path(source), partial)):
                return False
            partial.replace(target)
        sync_folder(Path(target).parent)
        return True

    def is_untouched(self, path: str, since: str) -> bool:
        """Compare the times that the kernel keeps: nobody sets the time of an inode's last change to their liking."""
        try:
            return Path(path).stat().st_ctime_ns < Path(since).stat().st_mtime_ns
        except FileNotFoundError:
            return False

    @contextmanager
    def lock(self, path: str) -> Iterator[bool]:
        """Lock a file beside the folder; the kernel lets go of it when the process ends, however it ends."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.with_name(f".{target.name}{_LOCK_SUFFIX}")
        descriptor = _locked(file)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                file.unlink(missing_ok=True)
                os.close(descriptor)

    def contains(self, root: str, path: str) -> bool:
        """Follow symbolic links, and tell whether the file is still below the folder."""
        real_root = os.path.realpath(root)
        return os.path.commonpath([real_root, os.path.realpath(path)]) == real_root

    def free_bytes(self, path: str) -> int | None:
        """Return the bytes that an unprivileged writer may still use."""
        return shutil.disk_usage(_existing(path)).free

    def capacity_bytes(self, path: str) -> int | None:
        """Return the size of the file system; XFS and ext4 report the limit of a folder that has a project quota."""
        return shutil.disk_usage(_existing(path)).total

    def stamp(self, path: str) -> str:
        """Return time of change, size and number of the file: a rename brings another file, a rewrite another time."""
        return stamp_of(Path(path).stat())

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Explain errors about this file, its folders and what is in it; others have only passed through a block."""
        named = str(getattr(error, "filename", None) or path)
        beside = Path(named).parent == Path(path).parent
        if not (beside or named.startswith(f"{path}/") or path.startswith(f"{named}/")):
            return None
        return super().explain(error, what, path)

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:
        """Remove the files that killed writers began, and their locks; a folder that is locked is left alone."""
        removed = []
        for folder, subfolders, names in os.walk(root):
            for name in filter(is_lock, names):
                locked = name[1 : -len(_LOCK_SUFFIX)]
                try:
                    with self.lock(str(Path(folder, locked))):
                        removed.append(str(Path(folder, name)))
                except BusyError:
                    subfolders[:] = [subfolder for subfolder in subfolders if subfolder != locked]
            for name in filter(is_partial, names):
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                        path.unlink()
                        removed.append(str(path))
        return removed


def is_partial(name: str) -> bool:
    """Tell whether a file of that name is one that is being written, or whose writer was killed."""
    return _PARTIAL.fullmatch(name) is not None


def is_lock(name: str) -> bool:
    """Tell whether a file of that name is a lock on a folder."""
    return name.startswith(".") and name.endswith(_LOCK_SUFFIX)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(partial_name(uuid.uuid4().hex))
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _reflink(source: Path, target: Path) -> bool:
    with source.open("rb") as reader:
        try:
            with target.open("xb") as writer:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
                os.fsync(writer.fileno())
        except OSError as error:
            if is_out_of_space(error):
                raise
            target.unlink(missing_ok=True)
            return False
    return True


def _hard_link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        # Another disk, a file system without links, or a file with as many as it may have.
        return False
    return True


def _copy_bytes(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), _RANGE_BYTES):
                pass
        except OSError as error:
            if is_out_of_space(error):
                raise
        # Some kernels refuse some pairs of file systems, and some file systems stop early: the rest goes through us.
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _existing(path: str) -> Path:
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    return existing


def _locked(file: Path) -> int | None:
    """Return the descriptor of the locked file, ``None`` where the file system has no locks."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before removed the file; a lock on a removed file excludes nobody.
            if _same_file(descriptor, file):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise BusyError(
                    f"another process is writing {file.name[1 : -len(_LOCK_SUFFIX)]} in {file.parent}; "
                    "a retry finds what it makes"
                ) from error
            if error.errno in _NO_LOCKS:
                return None
            raise
        os.close(descriptor)


def _same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


BACKEND = LocalBackend
