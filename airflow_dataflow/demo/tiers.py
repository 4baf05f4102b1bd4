"""Where the demo's versions lie: in three folders, or in a folder, on HDFS and on S3."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from airflow_dataflow.demo import hadoop_files
from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.demo.home import Home
from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.storage.tier import TIER_CLASSES, Tier

NAMESERVICE = "demo"
"""Name of the HDFS cluster in URLs: they stay as they are when its ports change."""
CONN_IDS = {"hdfs": "webhdfs_default", "s3": "aws_default"}
"""Airflow connection by scheme of a tier's URL."""
_CLIENTS = ("hdfs", "hdfs_native")


def check_hdfs() -> None:
    """Look for what the demo's HDFS needs, and download Hadoop unless it is in the user's cache.

    :raises MissingPackageError: when something is missing; the message says what to do.
    """
    hadoop_files.find_java()
    missing = [name for name in _CLIENTS if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"the demo's client of HDFS is not installed ({' and '.join(missing)}): "
            "run pip install 'airflow-dataflow[demo]'"
        )
    hadoop_files.jars()


def local_tiers(home: Home) -> list[Tier]:
    """Return tiers that are folders of the home."""
    return [Tier(name=name, tier_class=name, url=(home.tiers / name).as_uri()) for name in TIER_CLASSES]


def mixed_tiers(home: Home, cluster: HdfsCluster, bucket: str, s3_options: dict[str, Any]) -> list[Tier]:
    """Return a hot tier in the home, a warm one on HDFS and a cold one on S3."""
    return [
        Tier(name="hot", tier_class="hot", url=(home.tiers / "hot").as_uri()),
        Tier(
            name="warm",
            tier_class="warm",
            url=f"hdfs://{NAMESERVICE}/dataflow",
            storage_options={
                "namenodes": [f"http://{host}:{port}" for host, port in cluster.web_addresses],
                "nameservice": NAMESERVICE,
                "user": cluster.user,
            },
        ),
        Tier(name="cold", tier_class="cold", url=f"s3://{bucket}/cold", storage_options=s3_options),
    ]


def connection_extra(tiers: Sequence[Tier]) -> list[dict[str, str]]:
    """Return tiers as an Airflow connection of type ``dataflow`` describes them: with connections, not secrets."""
    items = []
    for tier in tiers:
        item = {"name": tier.name, "class": tier.tier_class, "url": tier.url}
        conn_id = CONN_IDS.get(tier.url.partition("://")[0])
        items.append(item if conn_id is None else {**item, "conn_id": conn_id})
    return items


def hdfs_connection(cluster: HdfsCluster) -> dict[str, Any]:
    """Return an Airflow connection of type ``webhdfs`` to the demo's cluster."""
    host, port = cluster.web_addresses[0]
    extra = {"nameservice": NAMESERVICE}
    return {"conn_type": "webhdfs", "host": host, "port": port, "login": cluster.user, "extra": extra}
