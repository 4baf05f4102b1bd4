"""S3 servers that share no code; what holds on one only because of that server is no feature of ours."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dataflow.storage.directory import Directory


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.s3), pytest.param("ceph", marks=pytest.mark.ceph)])
def s3_place(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Return an empty prefix on each of two S3 servers, as its URL and what fsspec needs to open it."""
    if request.param == "ceph":
        return f"s3://{request.getfixturevalue('ceph_bucket')}/tier", request.getfixturevalue("ceph_s3").options
    return f"s3://{request.getfixturevalue('bucket')}/tier", request.getfixturevalue("s3_options")


@pytest.fixture
def folder(s3_place: tuple[str, dict[str, Any]]) -> Directory:
    """Return that prefix."""
    return Directory.from_url(*s3_place)
