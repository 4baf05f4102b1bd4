"""Versions and copies for tests of the catalog; nothing of them is in storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_dataflow.datasets.catalog.catalog import Replica
from airflow_dataflow.datasets.manifest import Manifest, fingerprint_of, new_version_id

START = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)


def manifest(number: int, dataset: str = "support/dialogs", **changes: Any) -> Manifest:
    """Return the version of day ``number``."""
    fingerprint = fingerprint_of([dataset, number])
    version = new_version_id(START + timedelta(days=number), fingerprint)
    return Manifest(**{"dataset": dataset, "version": version, "fingerprint": fingerprint} | changes)


def replica(of: Manifest, location: str = "hot", tier: str | None = "hot") -> Replica:
    """Return a copy of a version."""
    return Replica(
        dataset=of.dataset, version=of.version, location=location, tier=tier, url=f"file:///{location}/{of.version}"
    )
