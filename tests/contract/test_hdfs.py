"""The contract of backends, on a real HDFS cluster whose data goes through hdfs-native."""

from __future__ import annotations

import uuid

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.hdfs.native import NativeHdfs
from airflow_dataflow.testing.backend import BackendContract
from tests.storage.hdfs.clusters import options_of


@pytest.mark.hdfs
class TestHdfs(BackendContract):
    """A folder behind a NameNode."""

    has_locks = False

    @pytest.fixture
    def directory(self, hdfs_cluster: HdfsCluster) -> Directory:
        """Return a folder that does not exist yet."""
        directory = Directory.from_url(f"{hdfs_cluster.rpc_url}/{uuid.uuid4().hex}", options_of(hdfs_cluster))
        assert isinstance(directory.fs.client, NativeHdfs)
        return directory
