"""Claim: one large file is written to and read from HDFS at 0.9 times the speed of raw hdfs-native, or faster.

Our side does what a task does: it digests what it writes, writes beside the target and renames, and digests what it
reads. Both sides take turns on one cluster in one run; the medians count. Small files are written as a transfer writes
them, as many at once as the backend wants, and compared with one raw writer after the other.

    python benchmarks/hdfs_io.py [--mebibytes 512] [--rounds 5] [--small 64]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from hdfs_native import Client, WriteOptions

from airflow_dataflow.demo.hadoop import HdfsCluster, HdfsOptions
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import files_in_parallel

MIB = 1 << 20
PIECE = os.urandom(MIB)
SMALL = b"x" * (64 << 10)
LEAST_RATIO = 0.9


def seconds(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def raw_write(client: Client, pieces: int) -> None:
    """Write a file with hdfs-native alone."""
    with client.create("/raw.bin", WriteOptions(overwrite=True)) as file:
        for _ in range(pieces):
            file.write(PIECE)


def raw_read(client: Client) -> None:
    """Read a file with hdfs-native alone, in the way that it calls the most efficient."""
    file = client.read("/raw.bin")
    for _ in file.read_range_stream(0, len(file)):
        pass


def our_write(folder: Directory, pieces: int) -> None:
    """Write a file as a task does."""
    with folder.create("ours.bin") as file:
        for _ in range(pieces):
            file.write(PIECE)


def raw_small(client: Client, number: int) -> None:
    """Write a small file with hdfs-native alone."""
    with client.create(f"/raw/{number}", WriteOptions(overwrite=True, create_parent=True)) as file:
        file.write(SMALL)


def our_small(folder: Directory, number: int) -> None:
    """Write a small file as a task does."""
    with folder.create(f"small/{number}") as file:
        file.write(SMALL)


def measure(cluster: HdfsCluster, options: argparse.Namespace) -> dict[str, float]:
    """Return the median seconds of each work."""
    raw = Client(cluster.rpc_url, cluster.client_config)
    shared = {
        "namenodes": [f"http://{host}:{port}" for host, port in cluster.web_addresses],
        "rpc": [f"{host}:{port}" for host, port in cluster.rpc_addresses],
    }
    native, web = (Directory.from_url(f"{scheme}:///{scheme}", shared) for scheme in ("hdfs", "webhdfs"))
    numbers = range(options.small)

    def small(folder: Directory) -> None:
        files_in_parallel(
            lambda number: our_small(folder, number), numbers, size=lambda _: len(SMALL), places=(folder,)
        )

    works: dict[str, Callable[[], object]] = {
        "raw write": lambda: raw_write(raw, options.mebibytes),
        "hdfs write": lambda: our_write(native, options.mebibytes),
        "webhdfs write": lambda: our_write(web, options.mebibytes),
        "raw read": lambda: raw_read(raw),
        "hdfs read": lambda: native.digest("ours.bin"),
        "webhdfs read": lambda: web.digest("ours.bin"),
        "raw small": lambda: [raw_small(raw, number) for number in numbers],
        "hdfs small": lambda: small(native),
        "webhdfs small": lambda: small(web),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    return {name: median(values) for name, values in taken.items()}


def main() -> None:
    """Print the ratios, and fail when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", type=int, default=64, help="number of files of 64 KiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, HdfsCluster(Path(folder), HdfsOptions()) as cluster:
        times = measure(cluster, options)
    ratios = {}
    for what in ("write", "read", "small"):
        for way in ("hdfs", "webhdfs"):
            ratios[way, what] = times[f"raw {what}"] / times[f"{way} {what}"]
            print(f"{way:8} {what:6} {ratios[way, what]:5.2f} times raw hdfs-native")
    slow = [f"{what} ({ratios['hdfs', what]:.2f})" for what in ("write", "read") if ratios["hdfs", what] < LEAST_RATIO]
    if slow:
        raise SystemExit(f"slower than {LEAST_RATIO} times raw hdfs-native: {', '.join(slow)}")


if __name__ == "__main__":
    main()
