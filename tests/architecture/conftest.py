"""What the tests of the architecture look at."""

from __future__ import annotations

from pathlib import Path

import pytest

import airflow_dataflow


@pytest.fixture(scope="session")
def package() -> Path:
    """Return the folder of the package."""
    return Path(airflow_dataflow.__file__).parent


@pytest.fixture(scope="session")
def repository(package: Path) -> Path:
    """Return the root of the repository."""
    return package.parent
