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

    @pytest.mark.parametrize("name", ["a/b/"])
    def test_no_file_takes_the_place_of_one_of_another_name(self, directory: Directory, name: str) -> None:
        """Try one name: this server, other than Google, keeps objects as files, and takes ``a//b`` for ``a/b``."""
        super().test_no_file_takes_the_place_of_one_of_another_name(directory, name)
