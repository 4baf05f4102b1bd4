"""Imports inside the library point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "registry": {"errors"},
    "datasets": {"errors"},
    "databases": {"errors", "progress", "registry"},
    "recipe": {"errors", "registry", "datasets"},
    "storage": {"errors", "progress", "datasets"},
    "scheduling": {"errors"},
    "transfer": {"errors", "progress", "registry", "databases", "datasets", "scheduling", "storage"},
    "engines": {"errors", "progress", "registry", "datasets", "recipe", "scheduling", "storage", "transfer"},
}
MAY_IMPORT["ingest"] = MAY_IMPORT["features"] = {*MAY_IMPORT}
MAY_IMPORT["cleaning"] = MAY_IMPORT["ingest"] | {"ingest"}
MAY_IMPORT["training"] = MAY_IMPORT["features"] | {"features"}
LIBRARY = frozenset(MAY_IMPORT)
MAY_IMPORT["settings"] = {"errors", "provider_info"}
MAY_IMPORT["assets"] = MAY_IMPORT["hooks"] = {*LIBRARY, "settings"}
MAY_IMPORT["triggers"] = MAY_IMPORT["hooks"] | {"hooks", "assets"}
MAY_IMPORT["filesystems"] = MAY_IMPORT["hooks"] | {"hooks"}
MAY_IMPORT["operators"] = MAY_IMPORT["triggers"] | {"triggers"}
MAY_IMPORT["sensors"] = MAY_IMPORT["operators"] | {"operators"}
MAY_IMPORT["web"] = MAY_IMPORT["hooks"] | {"hooks", "assets"}
MAY_IMPORT["testing"] = {"errors", "datasets", "storage"}
MAY_IMPORT["demo"] = {*LIBRARY}
MAY_IMPORT["cli"] = {*LIBRARY, "demo", "hooks"}
SPARK_ONLY = {"pyspark", "torch"}
INSIDE_SPARK = ("training/jobs/", "training/trainers/")
START_UP = {"__init__", "provider_info", "plugin"}


def imported(path: Path) -> Iterator[str]:
    """Yield the parts of our package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "airflow_dataflow":
            names = [f"airflow_dataflow.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.startswith("airflow_dataflow."):
                yield name.split(".")[1]


def violations(package: Path) -> list[str]:
    """Return every import against the direction, as ``file: imports part``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        if part in START_UP:
            continue
        allowed = {*MAY_IMPORT[part], part, "__version__"}
        found += [f"{path.relative_to(package)}: imports {name}" for name in imported(path) if name not in allowed]
    return found


def imports_of_spark(package: Path) -> list[str]:
    """Return every module-level import of Spark or PyTorch outside the files that run inside Spark."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).as_posix()
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & SPARK_ONLY and not relative.startswith(INSIDE_SPARK):
                found.append(relative)
    return found


def test_only_what_runs_inside_spark_imports_it_at_the_top(package: Path) -> None:
    assert imports_of_spark(package) == []


def test_the_check_for_spark_fires(tmp_path: Path) -> None:
    for folder in ("cleaning", "training/jobs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "offender.py").write_text("from pyspark.sql import SparkSession")
    assert imports_of_spark(tmp_path) == ["cleaning/offender.py"]


def test_no_part_imports_what_stands_above_it(package: Path) -> None:
    assert violations(package) == []


def test_every_part_of_the_package_has_its_place_in_the_direction(package: Path) -> None:
    parts = {path.stem for path in package.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__pycache__"}
    assert parts - START_UP - {"example_dags", "py"} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("relative", "code", "part"),
    [
        ("datasets/offender.py", "from airflow_dataflow.storage.store import Store", "storage"),
        ("storage/offender.py", "def f():\n    import airflow_dataflow.transfer.copy", "transfer"),
        ("cleaning/rules/offender.py", "from airflow_dataflow import features", "features"),
        ("hooks/offender.py", "from airflow_dataflow.operators import storage", "operators"),
    ],
)
def test_the_check_fires(tmp_path: Path, relative: str, code: str, part: str) -> None:
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text(code)
    assert violations(tmp_path) == [f"{relative}: imports {part}"]
