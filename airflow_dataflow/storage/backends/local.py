"""Local file systems: a rename publishes, a hard link copies."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from airflow_dataflow.storage.backends import Backend

PARTIAL_SUFFIX = ".partial"


class LocalBackend(Backend):
    """A mounted file system of this machine."""

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Write beside ``path``, flush to the disk, rename: a crash leaves the old file or the new one."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{PARTIAL_SUFFIX}")
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def copy(self, source: str, target: str) -> None:
        """Share the bytes by a hard link, or copy them where the two lie on different file systems.

        Files of a version never change, so a shared one is as good as its own.
        """
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{target}.{uuid.uuid4().hex[:8]}{PARTIAL_SUFFIX}")
        try:
            try:
                os.link(source, partial)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(source, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def free_bytes(self, path: str) -> int | None:
        """Return the bytes that an unprivileged writer may still use."""
        existing = Path(path)
        while not existing.exists():
            existing = existing.parent
        return shutil.disk_usage(existing).free


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


BACKEND = LocalBackend
