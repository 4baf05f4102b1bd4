"""The contract of backends, on two S3 servers that share no code."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.backend import BackendContract
from tests.services.ceph import STORAGE_CLASSES, CephS3


class S3Contract(BackendContract):
    """A prefix in a bucket."""

    has_locks = False
    knows_free_bytes = False


@pytest.mark.s3
class TestMoto(S3Contract):
    """A prefix on a server that knows Amazon's newer requests, conditions on every write among them."""

    @pytest.fixture
    def directory(self, bucket: str, s3_options: dict[str, Any]) -> Directory:
        """Return a prefix that has no keys."""
        return Directory.from_url(f"s3://{bucket}/root", s3_options)


@pytest.mark.ceph
class TestCeph(S3Contract):
    """A prefix on a server that checks signatures, and ignores conditions where an upload of parts ends."""

    usable_storage_classes = ("STANDARD", *STORAGE_CLASSES)

    @pytest.fixture
    def directory(self, ceph_bucket: str, ceph_s3: CephS3) -> Directory:
        """Return a prefix that has no keys."""
        return Directory.from_url(f"s3://{ceph_bucket}/root", ceph_s3.options)
