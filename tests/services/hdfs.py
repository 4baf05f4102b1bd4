"""HDFS clusters of the tests: real NameNodes and DataNodes on loopback, whole again before each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster, HdfsOptions
from airflow_dataflow.errors import JobFailedError
from tests.services.packages import skip_without_packages

BLOCK_BYTES = 1024 * 1024


def _cluster(factory: pytest.TempPathFactory, options: HdfsOptions) -> Iterator[HdfsCluster]:
    with skip_without_packages():
        cluster = HdfsCluster(factory.mktemp("hdfs"), options)
    with cluster:
        yield cluster


def _whole(cluster: HdfsCluster) -> HdfsCluster:
    """Start again what the last test has killed, and end the safe mode that it has left."""
    if cluster.active is not None and cluster.in_safe_mode:
        # A NameNode that is down cannot be asked to leave; the one that has just started leaves by itself.
        with suppress(JobFailedError):
            cluster.leave_safe_mode()
    cluster.start()
    return cluster


@pytest.fixture(scope="session")
def hdfs_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsCluster]:
    """Start a NameNode and two DataNodes with DISK, SSD and ARCHIVE volumes; permissions are enforced."""
    yield from _cluster(tmp_path_factory, HdfsOptions(datanodes=2, block_bytes=BLOCK_BYTES, permissions=True))


@pytest.fixture
def hdfs_cluster(hdfs_servers: HdfsCluster) -> HdfsCluster:
    """Return the cluster of one NameNode, all of it running; a test may kill any part."""
    return _whole(hdfs_servers)


@pytest.fixture(scope="session")
def hdfs_ha_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsCluster]:
    """Start two NameNodes, of which one is active, and a DataNode; permissions are enforced."""
    yield from _cluster(tmp_path_factory, HdfsOptions(namenodes=2, block_bytes=BLOCK_BYTES, permissions=True))


@pytest.fixture
def hdfs_ha(hdfs_ha_servers: HdfsCluster) -> HdfsCluster:
    """Return the cluster with two NameNodes, all of it running; a test may kill any part, and fail over."""
    return _whole(hdfs_ha_servers)
