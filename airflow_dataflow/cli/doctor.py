"""``dataflow doctor``: what this machine has, and what to do where something is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import has_store, open_store, place
from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.progress import Progress

_LEAST_FREE_BYTES = 2 << 30
_PROVIDER = "airflow_dataflow.provider_info:get_provider_info"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str
    """What was looked at."""
    state: Literal["ok", "failed", "skipped"]
    found: str
    """What is there."""
    remedy: str = ""
    """What to do, when it failed."""


def examine(arguments: Namespace, _progress: Progress) -> Answer:
    """Check this machine."""
    findings = [_python(), *_packages(), _provider(), _spark(), _java(), _disk(), *_store(arguments)]
    if arguments.tiers == "hdfs":
        findings.append(_hdfs())
    if arguments.url:
        findings.append(_writable("url", *place(arguments.url)))
    failed = sum(finding.state == "failed" for finding in findings)
    rows = [asdict(finding) for finding in findings]
    summary = f"{failed} of {len(rows)} checks failed" if failed else "everything that is needed is there"
    return Answer(rows, summary=summary, succeeded=not failed)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    for text in requires("airflow-dataflow") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        remedy = f"pip install '{requirement}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(requirement.name, "failed", "not installed", remedy)
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        yield Finding(requirement.name, "ok", found) if fits else Finding(requirement.name, "failed", found, remedy)


def _provider() -> Finding:
    if _PROVIDER in [entry.value for entry in entry_points(group="apache_airflow_provider")]:
        return Finding("provider", "ok", "Airflow finds airflow-dataflow")
    return Finding("provider", "failed", "Airflow does not find airflow-dataflow", "pip install airflow-dataflow")


def _spark() -> Finding:
    if named := os.environ.get("SPARK_HOME"):
        return _spark_home(Path(named), "SPARK_HOME", "set SPARK_HOME to the folder of a Spark")
    try:
        found, client = version("pyspark"), version("pyspark-client")
    except PackageNotFoundError as error:
        return Finding("Spark", "failed", f"{error.name} is not installed", "pip install 'airflow-dataflow[spark]'")
    remedy = f"pip install --force-reinstall --no-deps pyspark=={client}"
    if found != client:
        return Finding("Spark", "failed", f"pyspark {found} and pyspark-client {client} share one folder", remedy)
    package = find_spec("pyspark")
    return _spark_home(Path((package and package.origin) or "").parent, f"pyspark {found}", remedy)


def _spark_home(home: Path, what: str, remedy: str) -> Finding:
    if shutil.which("spark-submit", path=str(home / "bin")):
        return Finding("Spark", "ok", f"{what} in {home}")
    return Finding("Spark", "failed", f"{what} in {home} has no bin/spark-submit", remedy)


def _java() -> Finding:
    from airflow_dataflow.training.java import find_java_home

    try:
        return Finding("Java", "ok", f"Spark runs on {find_java_home()}")
    except MissingPackageError as error:
        found, _, remedy = str(error).partition(": ")
        return Finding("Java", "failed", found, remedy)


def _hdfs() -> Finding:
    from airflow_dataflow.demo.tiers import check_hdfs

    try:
        check_hdfs()
    except MissingPackageError as error:
        found, _, remedy = str(error).rpartition(": ")
        return Finding("HDFS", "failed", found, remedy)
    return Finding("HDFS", "ok", "Java, Hadoop and its clients are here")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / (1 << 30):.1f} GiB free in {Path.cwd()}"
    if free < _LEAST_FREE_BYTES:
        return Finding("disk", "failed", found, f"free {_LEAST_FREE_BYTES >> 30} GiB, or work in another folder")
    return Finding("disk", "ok", found)


def _store(arguments: Namespace) -> Iterator[Finding]:
    if not has_store(arguments):
        yield Finding("store", "skipped", f"no --store, no DATAFLOW_STORE, no connection {arguments.conn_id!r}")
        return
    try:
        store = open_store(arguments)
        count = len(store.catalog.datasets())
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
        yield Finding("store", "failed", str(error), "mend the connection or the file that describes the store")
        return
    yield Finding("store", "ok", f"the catalog lists {count} datasets")
    for tier in store.tiers:
        yield _writable(f"tier {tier.name}", tier.url, tier.storage_options)


def _writable(check: str, url: str, options: dict[str, Any]) -> Finding:
    from airflow_dataflow.storage.directory import Directory

    try:
        Directory.from_url(url, options).probe()
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
        return Finding(
            check, "failed", f"{url} cannot be written: {error}", "check address, credentials and permissions"
        )
    return Finding(check, "ok", f"{url} can be written")
