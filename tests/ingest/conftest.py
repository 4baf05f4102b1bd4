"""A landing folder beside a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.ingest.landing import LocalFile
from airflow_dataflow.storage.store import Store
from tests.ingest.lab import Lab


@pytest.fixture
def lab(store: Store, tmp_path: Path) -> Lab:
    """Return an empty landing folder beside an empty store."""
    landing = tmp_path / "landing"
    landing.mkdir()
    return Lab(store, landing)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that have been opened for parsing, as they come."""
    names: list[str] = []
    original = LocalFile.open

    def spy(self: LocalFile) -> Any:
        names.append(self.name)
        return original(self)

    monkeypatch.setattr(LocalFile, "open", spy)
    return names
