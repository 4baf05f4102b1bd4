"""Claim: HDFS to S3 through the engine runs at 0.9 times the slower of the two ends alone, or faster.

The ends are what a transfer does on either side, several parts at once and without digests: HDFS alone reads the file
in ranges and forgets them, S3 alone sends a buffer in parts by boto3's transfer manager. The engine moves the same file
with its verification. All take turns on one cluster and one gateway in one run; the medians count.

    python -m benchmarks.hdfs_to_s3 [--mebibytes 512] [--rounds 3]
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from airflow_dataflow.demo.hadoop import HdfsCluster, HdfsOptions
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.copy import copy_path
from tests.services.ceph import CephS3, running

MIB = 1 << 20
PART_BYTES = 16 * MIB
AT_ONCE = 4
BUCKET = "bench"
LEAST_RATIO = 0.9


def seconds(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def hdfs_alone(folder: Directory, size: int) -> None:
    """Read the file in ranges, and forget them."""
    path = folder.path("source.bin")

    def read(start: int) -> int:
        return len(folder.backend.read_range(path, start, PART_BYTES))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        if sum(pool.map(read, range(0, size, PART_BYTES))) != size:
            raise SystemExit("HDFS gave fewer bytes than there are")


def client_of(gateway: CephS3) -> Any:
    """Return boto3's client."""
    import boto3

    keys = {"aws_access_key_id": gateway.key, "aws_secret_access_key": gateway.secret}
    return boto3.client("s3", endpoint_url=gateway.url, region_name="us-east-1", **keys)


def s3_alone(client: Any, data: bytes) -> None:
    """Send the bytes by boto3's transfer manager."""
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_chunksize=PART_BYTES, max_concurrency=AT_ONCE)
    client.upload_fileobj(io.BytesIO(data), BUCKET, "alone.bin", Config=config)


def measure(cluster: HdfsCluster, gateway: CephS3, options: argparse.Namespace) -> dict[str, float]:
    """Return the median seconds of each work."""
    access = {
        "namenodes": [f"http://{host}:{port}" for host, port in cluster.web_addresses],
        "rpc": [f"{host}:{port}" for host, port in cluster.rpc_addresses],
    }
    folder = Directory.from_url("hdfs:///bench", access)
    target = Directory.from_url(f"s3://{BUCKET}", gateway.options)
    client = client_of(gateway)
    client.create_bucket(Bucket=BUCKET)
    data = os.urandom(options.mebibytes * MIB)
    with folder.create("source.bin") as file:
        file.write(data)

    def engine() -> None:
        # A file that is there already would be compared, and not sent.
        target.remove("source.bin")
        copy_path(
            f"{folder.url}/source.bin",
            f"{target.url}/source.bin",
            source_options=access,
            target_options=gateway.options,
        )

    works: dict[str, Callable[[], object]] = {
        "HDFS alone": lambda: hdfs_alone(folder, len(data)),
        "S3 alone": lambda: s3_alone(client, data),
        "engine": engine,
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    if target.digest("source.bin") != folder.digest("source.bin"):
        raise SystemExit("the copy is not equal")
    return {name: median(values) for name, values in taken.items()}


def main() -> None:
    """Print the ratios, and fail when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="hdfs-") as disk,
        tempfile.TemporaryDirectory(prefix="ceph-", ignore_cleanup_errors=True) as short,
        HdfsCluster(Path(disk), HdfsOptions()) as cluster,
        running(Path(short)) as gateway,
    ):
        times = measure(cluster, gateway, options)
    slower = max(times["HDFS alone"], times["S3 alone"])
    for name, taken in times.items():
        print(f"{name:10} {slower / taken:5.2f} times the slower end")
    if slower / times["engine"] < LEAST_RATIO:
        raise SystemExit(f"slower than {LEAST_RATIO} times the slower end")


if __name__ == "__main__":
    main()
