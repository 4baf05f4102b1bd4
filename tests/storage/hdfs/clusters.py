"""The clusters of the tests, as options of a file system."""

from __future__ import annotations

from typing import Any

from airflow_dataflow.demo.hadoop import HdfsCluster


def options_of(cluster: HdfsCluster) -> dict[str, Any]:
    """Return what fsspec needs to open URLs on a cluster, as its superuser."""
    return {
        "namenodes": [f"http://{host}:{port}" for host, port in cluster.web_addresses],
        "rpc": [f"{host}:{port}" for host, port in cluster.rpc_addresses],
        "nameservice": cluster.rpc_url.removeprefix("hdfs://"),
        "user": cluster.user,
    }
