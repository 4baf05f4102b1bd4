"""A version, sites for it to go to, and what arrived there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.replicate import ReplicationReport
from airflow_dataflow.transfer.topology import Topology, load_topology

PART = 64 << 10
DATASET = "support/dialogs"
FILES = {
    "data/large.bin": os.urandom(4 * PART + 17),
    "data/exact.bin": os.urandom(2 * PART),
    "data/small.bin": os.urandom(100),
    "data/häufig ü 文.bin": b"unicode",
    "quarantine/empty.bin": b"",
}
SIZE = sum(map(len, FILES.values()))
CHAIN = [("hub", "a"), ("a", "b"), ("b", "c")]
"""The only links; a version goes from hub to a, from there to b, from there to c."""


def make(store: Store, files: Mapping[str, bytes] = FILES) -> Manifest:
    """Make a version of some files."""
    at = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
    with store.draft(DATASET, at=at, fingerprint="4f2a9c") as draft:
        for path, data in files.items():
            with draft.create(path) as writer:
                writer.write(data)
        return draft.commit(Rows())


def sites(folder: Path, links: list[tuple[str, str]] = CHAIN, **more: Mapping[str, Any]) -> Topology:
    """Return sites below a folder, and the hub, which is the hot tier."""
    names = {name for link in links for name in link} - {"hub"}
    places = {"hub": {"tier": "hot"}, **{name: {"url": str(folder / name)} for name in sorted(names)}}
    return load_topology({"sites": places | more, "links": [{"between": link} for link in links]})


def copy_at(folder: Path, manifest: Manifest) -> Path:
    """Return the version's folder at a site."""
    return folder / manifest.dataset / manifest.version


def total(report: ReplicationReport) -> tuple[int, int, int]:
    """Return the bytes that were sent, resumed and skipped."""
    return report.total.bytes_sent, report.total.bytes_resumed, report.total.bytes_skipped
