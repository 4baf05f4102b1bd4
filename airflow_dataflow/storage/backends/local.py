"""Local file systems: a rename publishes, a hard link copies, a lock ends with its process."""

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

from airflow_dataflow.errors import BusyError, DataflowError
from airflow_dataflow.storage.backends import Backend

_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial")
_LOCK_SUFFIX = ".dataflow-lock"
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
                _rename_to_new(partial, target)
            else:
                partial.replace(target)
        _sync_folder(target.parent)

    def copy(self, source: str, target: str) -> None:
        """Share the bytes by a hard link, or copy them where the two lie on different file systems.

        Files of a version never change, so a shared one is as good as its own.
        """
        with _beside(Path(target)) as partial:
            try:
                os.link(source, partial)
            except FileNotFoundError:
                raise
            except OSError:
                with Path(source).open("rb") as reader, partial.open("wb") as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)
                    writer.flush()
                    os.fsync(writer.fileno())
            partial.replace(target)
        _sync_folder(Path(target).parent)

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
        existing = Path(path)
        while not existing.exists():
            existing = existing.parent
        return shutil.disk_usage(existing).free

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
            for name in filter(_is_lock, names):
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


def _is_lock(name: str) -> bool:
    return name.startswith(".") and name.endswith(_LOCK_SUFFIX)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _rename_to_new(partial: Path, target: Path) -> None:
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here, so nothing is atomic but a rename; the lock on the folder keeps others away.
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        partial.replace(target)


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


BACKEND = LocalBackend
