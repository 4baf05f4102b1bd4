"""What the package imports is what it declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

OURS = {"airflow_dataflow"}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that a file imports, anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.fixture(scope="module")
def declared(repository: Path) -> set[str]:
    """Return the names of all distributions that the package needs, extras for users included."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = [text for name, texts in project["optional-dependencies"].items() if name != "dev" for text in texts]
    return {re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in [*project["dependencies"], *extras]}


def test_every_imported_package_is_declared(package: Path, declared: set[str]) -> None:
    known = packages_distributions()
    undeclared = set()
    for path in package.rglob("*.py"):
        for name in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in OURS or top == "airflow":
                continue
            if not {distribution.lower() for distribution in known.get(top, [])} & declared:
                undeclared.add(f"{path.relative_to(package)}: {top}")
    assert undeclared == set()


def test_every_imported_provider_is_declared(package: Path, declared: set[str]) -> None:
    used = {name for path in package.rglob("*.py") for name in imports(path) if name.startswith("airflow.providers.")}
    providers = {name.removeprefix("apache-airflow-providers-").replace("-", ".") for name in declared}
    undeclared = [
        name for name in used if not any(name.removeprefix("airflow.providers.").startswith(one) for one in providers)
    ]
    assert undeclared == []
