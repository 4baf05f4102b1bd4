"""``ObjectStoragePath("hdfs://webhdfs_default@namenode/path")``: HDFS through a connection of type ``webhdfs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_dataflow.hooks.hdfs import connection_options

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

schemes = ["hdfs"]


def get_fs(conn_id: str | None, storage_options: Mapping[str, Any] | None = None) -> AbstractFileSystem:
    """Return the file system that a connection opens.

    Data goes through hdfs-native where that is installed and the NameNodes take Hadoop's own protocol, and through
    WebHDFS elsewhere.

    :param conn_id: connection of type ``webhdfs``; ``webhdfs_default`` when absent.
    :param storage_options: fields of :class:`~airflow_dataflow.storage.hdfs.options.HdfsConnection` that win over what
        the connection says.
    :raises InvalidInputError: when neither names a NameNode.
    """
    from airflow_dataflow.storage.hdfs.filesystem import HdfsFileSystem

    return HdfsFileSystem(**(connection_options(conn_id) | dict(storage_options or {})))
