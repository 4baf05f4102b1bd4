"""``dataflow doctor`` says what is missing and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.cli import doctor
from airflow_dataflow.demo import tiers
from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.training import java

Dataflow = Callable[..., Any]


def findings(dataflow: Dataflow, *arguments: object) -> dict[str, dict[str, str]]:
    """Return what the doctor found, by check."""
    return {row["check"]: row for row in dataflow("doctor", *arguments, "--format", "json").json}


def test_a_machine_that_was_set_up_is_healthy(dataflow: Dataflow, store_file: Path) -> None:
    outcome = dataflow("doctor", "--store", store_file)
    assert outcome.code == 0, outcome.out
    for check in ("Python", "apache-airflow", "provider", "Spark", "Java", "disk", "store", "tier cold"):
        assert check in outcome.out
    assert "failed" not in outcome.out


def no_java() -> Path:
    """Find no Java."""
    raise MissingPackageError("Spark needs Java 17 or later, and there is none: apt-get install a-java")


def no_pyspark(name: str) -> str:
    """Find no pyspark."""
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("target", "name", "substitute", "check", "remedy"),
    [
        (java, "find_java_home", no_java, "Java", "apt-get install a-java"),
        (doctor, "version", no_pyspark, "Spark", "pip install 'airflow-dataflow[spark]'"),
        (doctor, "version", no_pyspark, "polars", "pip install 'polars>="),
        (doctor, "version", lambda _name: "0.1", "polars", "pip install 'polars>="),
        (
            doctor,
            "version",
            lambda name: f"{len(name)}",
            "Spark",
            "pip install --force-reinstall --no-deps pyspark==14",
        ),
        (doctor, "entry_points", lambda group: [], "provider", "pip install airflow-dataflow"),
        (shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(9, 8, 1), "disk", "free 2 GiB"),  # type: ignore[attr-defined]
    ],
    ids=[
        "no Java",
        "no Spark",
        "a package missing",
        "a package too old",
        "two Sparks",
        "provider unknown",
        "disk full",
    ],
)
def test_each_failing_check_says_what_to_do(
    dataflow: Dataflow,
    monkeypatch: pytest.MonkeyPatch,
    store_file: Path,
    *,
    target: Any,
    name: str,
    substitute: Any,
    check: str,
    remedy: str,
) -> None:
    monkeypatch.delenv("SPARK_HOME", raising=False)
    monkeypatch.setattr(target, name, substitute)
    assert dataflow("doctor", "--store", store_file).code == 1
    found = findings(dataflow, "--store", store_file)[check]
    assert found["state"] == "failed"
    assert remedy in found["remedy"]


def test_what_hdfs_needs_is_looked_for_when_it_is_asked_for(
    dataflow: Dataflow, monkeypatch: pytest.MonkeyPatch, store_file: Path
) -> None:
    monkeypatch.setattr(tiers, "check_hdfs", lambda: None)
    assert "HDFS" not in findings(dataflow, "--store", store_file)
    assert findings(dataflow, "--store", store_file, "--tiers", "hdfs")["HDFS"]["state"] == "ok"
    monkeypatch.undo()
    monkeypatch.setattr(tiers, "find_spec", lambda name: None)
    found = findings(dataflow, "--store", store_file, "--tiers", "hdfs")["HDFS"]
    assert found["state"] == "failed"
    assert found["remedy"] == "run pip install 'airflow-dataflow[demo]'"


def test_a_spark_home_without_spark_is_found_out(
    dataflow: Dataflow, monkeypatch: pytest.MonkeyPatch, store_file: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert findings(dataflow, "--store", store_file)["Spark"]["state"] == "failed"


def test_a_store_and_a_url_that_cannot_be_written_are_found_out(
    dataflow: Dataflow, store_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "cold").write_text("a file where a folder should be")
    found = findings(dataflow, "--store", store_file, "--url", tmp_path / "cold" / "published")
    assert [found[check]["state"] for check in ("store", "tier hot", "tier cold", "url")] == [
        "ok",
        "ok",
        "failed",
        "failed",
    ]
    broken = findings(dataflow, "--store", tmp_path / "nowhere.yaml")
    assert broken["store"]["state"] == "failed"


@pytest.mark.airflow
def test_no_store_at_all_is_no_failure(dataflow: Dataflow) -> None:
    outcome = dataflow("doctor", "--conn-id", "nobody")
    assert outcome.code == 0
    assert "no connection 'nobody'" in outcome.out
