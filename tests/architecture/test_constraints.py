"""The pinned versions are those that run, and name no place to download from."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

NOT_PINNED = {"airflow-dataflow", "pip"}


def normal(name: str) -> str:
    """Return the one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, str]:
    """Return name and version of every line of the constraints."""
    lines = (repository / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def test_constraints_are_plain_pins_in_order_and_without_addresses(repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.+!]+", line)] == []
    assert lines == sorted(set(lines))


def test_every_installed_package_has_the_pinned_version(pins: dict[str, str]) -> None:
    installed = {normal(found.name): found.version for found in distributions()}
    wrong = {
        name: version for name, version in installed.items() if name not in NOT_PINNED and pins.get(name) != version
    }
    assert wrong == {}


def test_both_halves_of_pyspark_have_the_same_version(pins: dict[str, str]) -> None:
    assert pins["pyspark"] == pins["pyspark-client"]


def test_the_full_pyspark_is_the_one_in_the_environment() -> None:
    pyspark = Path(next(found for found in distributions() if found.name == "pyspark").locate_file("pyspark"))  # type: ignore[arg-type]
    assert (pyspark / "bin" / "spark-submit").exists()
    assert any((pyspark / "jars").glob("spark-core_*.jar"))
