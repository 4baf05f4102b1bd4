"""Many small objects on S3 take less time and CPU with obstore than with s3fs, and reading less than with boto3.

Starts Ceph's gateway, writes and reads objects of 64 KiB through a tier's folder (``Directory``, as transfers, drafts
and catalogs do) with and without obstore, and with boto3, in one run, in each of a few rounds; prints medians and their
ratios. Needs the extra ``s3``. Exits 1 when reads with obstore are under twice as fast as with s3fs, or writes slower.

    python -m benchmarks.s3_small_objects [--objects 500] [--threads 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from airflow_dataflow.storage.backends._s3_objects import SmallObjects
from airflow_dataflow.storage.directory import Directory
from tests.services.ceph import CephS3, running

OBJECT_BYTES = 64 << 10
LEAST_READ_RATIO, LEAST_WRITE_RATIO = 2.0, 1.0
Figures = dict[str, list[tuple[float, float]]]
"""Objects per second and CPU milliseconds per object, of each round, by what was done."""


def boto3_client(gateway: CephS3) -> Any:
    """Return a client of the gateway."""
    import boto3

    keys = {"aws_access_key_id": gateway.key, "aws_secret_access_key": gateway.secret}
    return boto3.client("s3", endpoint_url=gateway.url, region_name="us-east-1", **keys)


def measure(act: Callable[[int], object], objects: int, threads: int) -> tuple[float, float]:
    """Return objects per second and this process' CPU milliseconds per object."""
    began, cpu = time.perf_counter(), _cpu_seconds()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(act, range(objects)))
    return objects / (time.perf_counter() - began), 1000 * (_cpu_seconds() - cpu) / objects


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def one_round(gateway: CephS3, figures: Figures, objects: int, threads: int) -> None:
    """Write and read every object in each way."""
    data, bucket = os.urandom(OBJECT_BYTES), f"bench-{uuid.uuid4().hex}"
    client = boto3_client(gateway)
    client.create_bucket(Bucket=bucket)
    folders = {}
    for name in ("obstore", "s3fs"):
        options = {**gateway.options, "skip_instance_cache": True}
        folders[name] = Directory.from_url(f"s3://{bucket}/{name}", options)
        small = SmallObjects.of(folders[name].fs)
        small._works = small._works and name == "obstore"  # noqa: SLF001 - what a machine without the extra does

    def put(folder: Directory, number: int) -> None:
        with folder.create(str(number)) as file:
            file.write(data)

    acts: dict[str, Callable[[int], object]] = {
        "write boto3": lambda number: client.put_object(Bucket=bucket, Key=f"boto3/{number}", Body=data),
        "write s3fs": lambda number: put(folders["s3fs"], number),
        "write obstore": lambda number: put(folders["obstore"], number),
        "read boto3": lambda number: client.get_object(Bucket=bucket, Key=f"boto3/{number}")["Body"].read(),
        "read s3fs": lambda number: folders["s3fs"].read(str(number)),
        "read obstore": lambda number: folders["obstore"].read(str(number)),
    }
    for name, act in acts.items():
        figures.setdefault(name, []).append(measure(act, objects, threads))
    assert SmallObjects.of(folders["obstore"].fs)._works, "obstore was used"  # noqa: SLF001


def report(figures: Figures) -> bool:
    """Print the medians, and tell whether the claims hold."""
    medians = {name: tuple(map(statistics.median, zip(*rounds, strict=True))) for name, rounds in figures.items()}
    for name, (rate, cpu) in medians.items():
        print(f"{name:15} {rate:8,.0f} objects/s {cpu:8.2f} CPU ms/object")
    ratios = {
        f"{act} obstore/{other}": medians[f"{act} obstore"][0] / medians[f"{act} {other}"][0]
        for act in ("write", "read")
        for other in ("s3fs", "boto3")
    }
    for name, ratio in ratios.items():
        print(f"{name:22} {ratio:5.1f}x")
    return ratios["read obstore/s3fs"] >= LEAST_READ_RATIO and ratios["write obstore/s3fs"] >= LEAST_WRITE_RATIO


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--threads", type=int, default=4, help="as many as a transfer has files in flight")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="ceph-") as folder, running(Path(folder)) as gateway:
        for _ in range(options.rounds):
            one_round(gateway, figures, options.objects, options.threads)
    return 0 if report(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
