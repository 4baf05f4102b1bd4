"""Versions for tests: made of nothing, always the same bytes, and looked at from outside."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows, fingerprint_of
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import verify
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

DATASET = "support/dialogs"
FIRST, SECOND = datetime(2026, 11, 22, 2, 15, tzinfo=UTC), datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


def open_store(folder: Path, cold: tuple[str, dict[str, Any]] | None = None, **catalog: str) -> Store:
    """Return a store of the tiers hot, warm and cold below ``folder``; ``cold`` may lie elsewhere."""
    url, options = cold or (str(folder / "cold"), {})
    tiers = [
        Tier(name="hot", tier_class="hot", url=str(folder / "hot")),
        Tier(name="warm", tier_class="warm", url=str(folder / "warm")),
        Tier(name="cold", tier_class="cold", url=url, storage_options=options),
    ]
    return Store(tiers, Catalog(catalog.get("url", f"sqlite:///{folder}/catalog.db")))


def make_version(store: Store, at: datetime, *, salt: str = "") -> Manifest:
    """Make a version as a task does, with files in folders, one of them carried over from the version before."""
    fingerprint = fingerprint_of([at.isoformat(), salt])
    found = store.find(DATASET, fingerprint)
    if found is not None:
        return found
    others = [old for old in store.catalog.manifests(DATASET) if old.fingerprint != fingerprint]
    with store.draft(DATASET, at=at, fingerprint=fingerprint) as draft:
        for old in others[:1]:
            draft.carry(old.files[0], store.directory(old), path="data/carried.bin")
        for number in range(2):
            with draft.create(f"data/{number}.bin") as writer:
                writer.write(f"{salt}{at:%Y%m%d}".encode() * 1000)
                writer.write(bytes([number]) * 1000)
                writer.rows = 10
        with draft.create("quarantine/0.bin") as writer:
            writer.write(b"")
        return draft.commit(
            Rows(rows_in=25, rows_out=20, rows_quarantined=5, quarantined_by_reason={"duplicate": 5}),
            columns={"body": "string"},
            statistics={"bounds": (1, 2.5)},
        )


def make(folder: Path, at: datetime) -> str:
    """Make a version in the store below ``folder`` and return its reference."""
    return make_version(open_store(folder), at).reference


def settled(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of :func:`tree` without those that only a sweep removes: locks and files once half written."""
    return {path: data for path, data in files.items() if not path.rpartition("/")[2].startswith(".")}


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder`` with its content, hidden ones too."""
    return {
        str(Path(parent, name).relative_to(folder)): Path(parent, name).read_bytes()
        for parent, _, names in os.walk(folder)
        for name in sorted(names)
    }


def visible(folder: Directory) -> list[str]:
    """Return the references of all versions that a reader of the folder sees, after checking that each is whole."""
    references = []
    for path in folder.files():
        place, _, name = path.rpartition("/")
        if name == MANIFEST_NAME:
            manifest = Manifest.from_bytes(folder.read(path), path)
            for entry in manifest.files:
                verify(folder.child(place), entry)
            assert place == f"{manifest.dataset}/{manifest.version}"
            references.append(manifest.reference)
    return references


def check_catalog(store: Store) -> None:
    """Check that every version that the catalog lists is whole where the catalog says it is."""
    for dataset in store.catalog.datasets():
        for manifest in store.catalog.manifests(dataset):
            assert store.verify(manifest), manifest.reference
