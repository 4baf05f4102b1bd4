"""HDFS through WebHDFS alone, as ``webhdfs://host:9870/path``."""

from __future__ import annotations

from airflow_dataflow.storage.backends.hdfs import HdfsBackend
from airflow_dataflow.storage.hdfs.filesystem import WebHdfsFileSystem

FILE_SYSTEM = WebHdfsFileSystem
BACKEND = HdfsBackend
