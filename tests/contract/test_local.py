"""The contract of backends, on local file systems: the one that the tests lie on, XFS, Btrfs and ext4."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.backend import BackendContract


def new_folder(place: Path) -> Iterator[Directory]:
    """Yield a folder that does not exist yet, and remove it, for the file system is small."""
    folder = place / uuid.uuid4().hex
    yield Directory.from_url(str(folder))
    shutil.rmtree(folder, ignore_errors=True)


class TestLocal(BackendContract):
    """A folder of this machine."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Directory:
        """Return a folder that does not exist yet."""
        return Directory.from_url(str(tmp_path / "root"))


@pytest.mark.mounts
class TestXfs(BackendContract):
    """A folder on XFS, which has reflinks."""

    @pytest.fixture
    def directory(self, xfs_folder: Path) -> Iterator[Directory]:
        """Yield a folder that does not exist yet."""
        yield from new_folder(xfs_folder)


@pytest.mark.mounts
class TestBtrfs(BackendContract):
    """A folder on Btrfs, which has reflinks."""

    @pytest.fixture
    def directory(self, btrfs_folder: Path) -> Iterator[Directory]:
        """Yield a folder that does not exist yet."""
        yield from new_folder(btrfs_folder)


@pytest.mark.mounts
class TestExt4(BackendContract):
    """A folder on ext4, which has hard links only."""

    @pytest.fixture
    def directory(self, ext4_folder: Path) -> Iterator[Directory]:
        """Yield a folder that does not exist yet."""
        yield from new_folder(ext4_folder)
