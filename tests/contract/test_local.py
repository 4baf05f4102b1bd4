"""The contract of backends, on local file systems: the one that the tests lie on, XFS, Btrfs and ext4."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.backend import BackendContract


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
    def directory(self, xfs_folder: Path) -> Directory:
        """Return a folder that does not exist yet."""
        return Directory.from_url(str(xfs_folder / uuid.uuid4().hex))


@pytest.mark.mounts
class TestBtrfs(BackendContract):
    """A folder on Btrfs, which has reflinks."""

    @pytest.fixture
    def directory(self, btrfs_folder: Path) -> Directory:
        """Return a folder that does not exist yet."""
        return Directory.from_url(str(btrfs_folder / uuid.uuid4().hex))


@pytest.mark.mounts
class TestExt4(BackendContract):
    """A folder on ext4, which has hard links only."""

    @pytest.fixture
    def directory(self, ext4_folder: Path) -> Directory:
        """Return a folder that does not exist yet."""
        return Directory.from_url(str(ext4_folder / uuid.uuid4().hex))
