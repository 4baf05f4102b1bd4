"""The contract of backends, on a double of Aliyun OSS: see ``tests/services/oss.py`` for what that tells."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.backend import BackendContract


@pytest.mark.oss
class TestOss(BackendContract):
    """A prefix in a bucket."""

    has_locks = False
    knows_free_bytes = False

    @pytest.fixture
    def directory(self, oss_bucket: str, oss_options: dict[str, Any]) -> Directory:
        """Return a prefix that has no keys."""
        return Directory.from_url(f"oss://{oss_bucket}/root", oss_options)
