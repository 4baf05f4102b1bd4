"""The contract of backends, on a real HDFS cluster whose data goes through WebHDFS."""

from __future__ import annotations

import uuid

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.hdfs.webhdfs import WebHdfs
from airflow_dataflow.testing.backend import BackendContract
from tests.storage.hdfs.clusters import options_of


@pytest.mark.hdfs
class TestWebHdfs(BackendContract):
    """A folder behind a NameNode's HTTP server."""

    has_locks = False

    @pytest.fixture
    def directory(self, hdfs_cluster: HdfsCluster) -> Directory:
        """Return a folder that does not exist yet."""
        host, port = hdfs_cluster.web_addresses[0]
        directory = Directory.from_url(f"webhdfs://{host}:{port}/{uuid.uuid4().hex}", options_of(hdfs_cluster))
        assert isinstance(directory.fs.client, WebHdfs)
        return directory
