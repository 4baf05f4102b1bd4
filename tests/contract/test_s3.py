"""The contract of backends, on a real S3 server."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dataflow.storage.directory import Directory
from tests.contract.backend import BackendContract


@pytest.mark.s3
class TestS3(BackendContract):
    """A prefix in a bucket."""

    has_locks = False
    knows_free_bytes = False

    @pytest.fixture
    def directory(self, bucket: str, s3_options: dict[str, Any]) -> Directory:
        """Return a prefix that has no keys."""
        return Directory.from_url(f"s3://{bucket}/root", s3_options)
