"""An archive that takes its time: the cold tier of a store, on the S3 server that knows Amazon's archives."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.rebalance import copy_version

DATASET = "support/dialogs"
LOOKS = 5
"""How often the server is asked for a file before its state goes on; more, and a restore would not seem to begin."""


@dataclass(frozen=True)
class Archive:
    """A store that Airflow's connection ``dataflow_default`` opens, with one archived version on its only tier left."""

    store: Store
    """The store; its catalog knows of one copy, on the tier ``cold``."""
    manifest: Manifest
    """The version, of three files."""
    folder: Directory
    """The version's folder."""


@pytest.fixture
def archive(
    bucket: str, s3_url: str, s3_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Archive]:
    """Return a store with an archived version, whose restores take several looks."""
    hot = Tier(name="hot", tier_class="hot", url=str(tmp_path / "hot"))
    cold = Tier(name="cold", tier_class="cold", url=f"s3://{bucket}/cold", storage_options=s3_options)
    store = Store([hot, cold], Catalog(f"sqlite:///{tmp_path}/catalog.db"))
    tiers = [{"name": "hot", "class": "hot", "url": hot.url}, {"name": "cold", "class": "cold", "url": cold.url}]
    connection = {"conn_type": "dataflow", "extra": {"catalog_url": str(store.catalog.engine.url), "tiers": tiers}}
    monkeypatch.setenv("AIRFLOW_CONN_DATAFLOW_DEFAULT", json.dumps(connection))
    manifest = _version(store)
    copy_version(store, manifest.reference, "cold")
    store.catalog.remove_replica(store.replica(manifest, hot))
    store.remove_copy(hot, manifest.dataset, manifest.version)
    folder = store.place(cold, manifest.dataset, manifest.version)
    folder.backend.set_storage_class(folder.root, "GLACIER")
    with _restores(s3_url, {"progression": "manual", "times": LOOKS}):
        yield Archive(store, manifest, folder)


def _version(store: Store) -> Manifest:
    with store.draft(DATASET, at=datetime(2026, 11, 22, 2, 15, tzinfo=UTC), fingerprint="4f2a9c") as draft:
        for name, data in (("0", b"zero"), ("1", b"one"), ("empty", b"")):
            with draft.create(f"data/{name}.bin") as writer:
                writer.write(data)
        return draft.commit(Rows())


@contextmanager
def _restores(s3_url: str, how: dict[str, Any]) -> Iterator[None]:
    """Let the states of restores go on as ``how`` says, while the block runs."""
    manager, model = f"{s3_url}/moto-api/state-manager", {"model_name": "s3::keyrestore"}
    _post(f"{manager}/set-transition", {**model, "transition": how})
    try:
        yield
    finally:
        _post(f"{manager}/unset-transition", model)


def _post(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30):
        pass
