"""Fifty writers that commit versions at once on PostgreSQL lose nothing, and none waits over a second.

Starts PostgreSQL and MariaDB from Debian packages with their commits made durable, and has 50 writers, threads in a
few processes, commit versions as tasks do: each with a catalog of its own, and the version, its manifest and its copy
in one transaction. The same writers then do as many bare INSERTs of one row, each on a connection that it keeps. Prints
commits per second, the waits and the ratios; SQLite, which has one writer at a time, gets four. Exits 1 when a version
is missing, or when a writer on PostgreSQL waited over a second.

    python benchmarks/catalog_writers.py [--writers 50] [--commits 10]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_dataflow.datasets.catalog.catalog import Catalog, Replica
from airflow_dataflow.datasets.catalog.reads import Read, Reader
from airflow_dataflow.datasets.manifest import FileEntry, Manifest, fingerprint_of, new_version_id
from tests.services.sql import mariadb_server, postgres_server

PROCESSES = 5
SQLITE_WRITERS = 4
MOST_SECONDS = 1.0
FILES = 20
AT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)

Act = Callable[[str, int, int], None]


def main() -> int:
    """Measure each database and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--commits", type=int, default=10, help="commits of each writer")
    arguments = parser.parse_args()
    failures = []
    print("database   writers  per second      p50      p99      max  bare INSERT p50  ratio")
    for name, database in (("postgresql", _postgres), ("mariadb", _mariadb), ("sqlite", _sqlite)):
        writers = SQLITE_WRITERS if name == "sqlite" else arguments.writers
        with database() as url:
            failures += _measure(name, url, writers, arguments.commits)
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def _measure(name: str, url: str, writers: int, commits: int) -> list[str]:
    catalog = Catalog(url)
    with catalog.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE bare (id varchar(40) PRIMARY KEY, content varchar(200))")
    seconds, waits = _all_at_once(_commit, url, writers, commits)
    _, bare = _all_at_once(_insert, url, writers, commits)
    middle = _share(waits, 0.5)
    print(
        f"{name:<11}{writers:>8}{len(waits) / seconds:>12.0f}{_ms(middle)}{_ms(_share(waits, 0.99))}{_ms(waits[-1])}"
        f"{_ms(_share(bare, 0.5), 17)}{middle / _share(bare, 0.5):>7.1f}"
    )
    print(f"{'':<11}a task's record of two reads takes {_seconds_to_record(catalog) * 1000:.1f} ms, once")
    failures = []
    found = len(catalog.references())
    if found != writers * commits:
        failures.append(f"{name} lists {found} of {writers * commits} versions")
    if name == "postgresql" and waits[-1] > MOST_SECONDS:
        failures.append(f"a writer on {name} waited {waits[-1]:.2f} s, more than {MOST_SECONDS:g} s")
    return failures


def _all_at_once(act: Act, url: str, writers: int, commits: int) -> tuple[float, list[float]]:
    """Let all writers act; return the seconds of it all, and the sorted seconds of each act."""
    processes = min(PROCESSES, writers)
    shares = [range(first, writers, processes) for first in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_warm_up, [url] * processes))
        start = time.perf_counter()
        waits = [wait for part in pool.map(partial(_in_threads, act, url, commits), shares) for wait in part]
        return time.perf_counter() - start, sorted(waits)


def _warm_up(url: str) -> None:
    Catalog(url).datasets()
    time.sleep(0.2)  # so that each process gets one of these


def _in_threads(act: Act, url: str, commits: int, writers: range) -> list[float]:
    def write(writer: int) -> list[float]:
        waits = []
        for number in range(commits):
            start = time.perf_counter()
            act(url, writer, number)
            waits.append(time.perf_counter() - start)
        return waits

    with ThreadPoolExecutor(len(writers)) as pool:
        return [wait for waits in pool.map(write, writers) for wait in waits]


def _commit(url: str, writer: int, number: int) -> None:
    """Commit a version as a task does; half of them to a dataset that all writers share."""
    dataset = "support/shared" if number % 2 else f"support/{writer}"
    fingerprint = fingerprint_of([writer, number])
    version = new_version_id(AT + timedelta(seconds=number), fingerprint)
    files = tuple(
        FileEntry(path=f"data/{part:05}.parquet", bytes=part, digest=f"xxh3-128:{fingerprint[:32]}", rows=part)
        for part in range(FILES)
    )
    manifest = Manifest(dataset=dataset, version=version, fingerprint=fingerprint, files=files)
    copy = Replica(dataset=dataset, version=version, location="hot", tier="hot", url=f"file:///hot/{version}")
    Catalog(url).add(manifest, copy)


def _insert(url: str, writer: int, number: int) -> None:
    row = {"id": f"{writer}-{number}", "content": "x" * 100}
    with _engine(url).begin() as connection:
        connection.execute(sa.text("INSERT INTO bare (id, content) VALUES (:id, :content)"), row)


@cache
def _engine(url: str) -> sa.Engine:
    patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    return sa.create_engine(url, max_overflow=-1, pool_size=50, **patience)


def _seconds_to_record(catalog: Catalog) -> float:
    reader = Reader(dag_id="nightly", run_id="scheduled", task_id="clean", map_index=-1, try_number=1)
    best = []
    for _ in range(20):
        reads = [
            Read(dataset=name, version="20261123T021500Z-4f2a9c", tier="hot", at=AT, bytes=1, files=1, reader=reader)
            for name in ("support/raw", "support/clean")
        ]
        start = time.perf_counter()
        catalog.record_reads(reads)
        best.append(time.perf_counter() - start)
    return sorted(best)[len(best) // 2]


def _share(ordered: list[float], fraction: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def _ms(seconds: float, width: int = 9) -> str:
    return f"{seconds * 1000:>{width - 3}.0f} ms"


@contextmanager
def _postgres() -> Iterator[str]:
    with postgres_server(fsync="on") as server, server.database() as url:
        yield url


@contextmanager
def _mariadb() -> Iterator[str]:
    with mariadb_server(**{"innodb-flush-log-at-trx-commit": "1"}) as server, server.database() as url:
        yield url


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="airflow-dataflow-catalog-") as folder:
        yield f"sqlite:///{folder}/catalog.db"


if __name__ == "__main__":
    sys.exit(main())
