"""The contract of backends, on a server that speaks the protocol of Google Cloud Storage."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.backend import BackendContract


@pytest.mark.gcs
class TestGcs(BackendContract):
    """A prefix in a bucket."""

    has_locks = False
    knows_free_bytes = False

    @pytest.fixture
    def directory(self, gcs_bucket: str, gcs_options: dict[str, Any]) -> Directory:
        """Return a prefix that has no objects."""
        return Directory.from_url(f"gs://{gcs_bucket}/root", gcs_options)
