"""The contract of backends, on a local file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_dataflow.storage.directory import Directory
from tests.contract.backend import BackendContract


class TestLocal(BackendContract):
    """A folder of this machine."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Directory:
        """Return a folder that does not exist yet."""
        return Directory.from_url(str(tmp_path / "root"))
