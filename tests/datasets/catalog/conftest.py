"""Each test of the catalog runs on every database that can hold one."""

from __future__ import annotations

from pathlib import Path

import pytest

DATABASES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]


@pytest.fixture(params=DATABASES)
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/down/catalog.db"
    return request.getfixturevalue(f"{request.param}_url")
