"""A landing folder beside a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_dataflow.storage.store import Store
from tests.ingest.lab import Lab


@pytest.fixture
def lab(store: Store, tmp_path: Path) -> Lab:
    """Return an empty landing folder beside an empty store."""
    landing = tmp_path / "landing"
    landing.mkdir()
    return Lab(store, landing)
