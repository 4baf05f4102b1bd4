"""``ObjectStoragePath("webhdfs://webhdfs_default@namenode/path")``: HDFS through WebHDFS alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_dataflow.hooks.hdfs import connection_options

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

schemes = ["webhdfs"]


def get_fs(conn_id: str | None, storage_options: Mapping[str, Any] | None = None) -> AbstractFileSystem:
    """Return the file system that a connection opens; its parameters are those of the scheme ``hdfs``.

    :param conn_id: connection of type ``webhdfs``; ``webhdfs_default`` when absent.
    :param storage_options: what wins over the connection.
    :raises InvalidInputError: when neither names a NameNode.
    """
    from airflow_dataflow.storage.hdfs.filesystem import WebHdfsFileSystem

    return WebHdfsFileSystem(**(connection_options(conn_id) | dict(storage_options or {})))
