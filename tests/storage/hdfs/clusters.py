"""The clusters of the tests, as folders and as options of a file system."""

from __future__ import annotations

import json
import uuid
from typing import Any

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.storage.directory import Directory

SCHEMES = ("hdfs", "webhdfs")
MIB = 1 << 20


def options_of(cluster: HdfsCluster, **others: Any) -> dict[str, Any]:
    """Return what fsspec needs to open URLs on a cluster, as its superuser unless ``others`` say so."""
    pair = {"nameservice": cluster.rpc_url.removeprefix("hdfs://")} if len(cluster.rpc_addresses) > 1 else {}
    return {
        "namenodes": [f"http://{host}:{port}" for host, port in cluster.web_addresses],
        "rpc": [f"{host}:{port}" for host, port in cluster.rpc_addresses],
        **pair,
        "user": cluster.user,
        **others,
    }


def folder_on(cluster: HdfsCluster, scheme: str, **others: Any) -> Directory:
    """Return a folder that does not exist yet, opened through a file system of its own."""
    options = options_of(cluster, skip_instance_cache=True, **others)
    return Directory.from_url(f"{scheme}:///{uuid.uuid4().hex}", options)


def connection_to(cluster: HdfsCluster, **extra: Any) -> str:
    """Return a connection of type ``webhdfs`` for Airflow's environment."""
    hosts = ",".join(host for host, _ in cluster.web_addresses)
    port = cluster.web_addresses[0][1]
    connection = {"conn_type": "webhdfs", "host": hosts, "port": port, "login": cluster.user, "extra": extra}
    return json.dumps(connection)


def block_types(directory: Directory, relative: str) -> list[str]:
    """Return the storage type of each block's copies, as the NameNode tells it."""
    path = directory.path(relative)
    answer = directory.fs.web.call("GET", "GETFILEBLOCKLOCATIONS", path).json()
    return [kind for block in answer["BlockLocations"]["BlockLocation"] for kind in block["storageTypes"]]
