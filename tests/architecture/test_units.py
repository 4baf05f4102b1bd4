"""One file is one unit with one name: its class, its test and its line in the documentation carry it too."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import airflow_dataflow

PACKAGE = Path(airflow_dataflow.__file__).parent
REPOSITORY = PACKAGE.parent
UNITS = {
    "databases/dialects": "docs/how-to/ingest-from-a-database.md",
    "ingest/readers": "docs/reference/recipe-rules.md",
    "cleaning/rules": "docs/reference/recipe-rules.md",
    "features/extractors": "docs/reference/recipe-rules.md",
    "training/trainers": "docs/reference/recipe-rules.md",
}
FILES = [path for folder in UNITS for path in sorted((PACKAGE / folder).glob("*.py")) if not path.stem.startswith("_")]


def name(path: Path) -> str:
    """Return the path below the package, without its suffix."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def test_every_folder_of_units_has_some() -> None:
    assert {path.parent.relative_to(PACKAGE).as_posix() for path in FILES} == set(UNITS)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_unit_has_the_class_that_its_file_name_promises(path: Path) -> None:
    module = importlib.import_module(f"airflow_dataflow.{name(path).replace('/', '.')}")
    unit = getattr(module, "".join(part.capitalize() for part in path.stem.split("_")))
    assert unit.__module__ == module.__name__
    assert unit.__doc__


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_unit_has_a_test_file_of_its_name(path: Path) -> None:
    assert (REPOSITORY / "tests" / path.parent.relative_to(PACKAGE) / f"test_{path.name}").exists()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_unit_is_described_in_the_reference(path: Path) -> None:
    page = REPOSITORY / UNITS[path.parent.relative_to(PACKAGE).as_posix()]
    assert f"`{path.stem}`" in page.read_text()
