"""Restoring the catalog from what lies in storage; manifests are the truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import ArchivedError, CorruptDataError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

log = logging.getLogger(__name__)

_BATCH_BYTES = 32 << 20
_BATCH_VERSIONS = 200
"""Versions, and bytes of their manifests, that one transaction records."""
_READS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class RebuildReport:
    """What a rebuild found."""

    copies: int
    """Copies of versions on tiers, all of which the catalog lists now."""
    forgotten: int
    """Copies that the catalog listed and that are not there."""
    broken: tuple[str, ...]
    """What is wrong with each manifest that could not be read; what the catalog knew of that copy stays."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def rebuild(store: Store, *, progress: Progress = no_progress) -> RebuildReport:
    """Restore the catalog's versions and tier replicas from the manifests in storage, and forget all others.

    Publications are copies outside the store; those that the catalog still knows are kept. Tasks may run meanwhile:
    what they commit stays, and what they move away is not brought back.

    :param progress: told about every version folder.
    """
    before = store.catalog.copies()
    places = [_Place(tier, *names) for tier in store.tiers for names in store.all_versions_on(tier)]
    found: set[tuple[str, str, str]] = set()
    unknown: set[tuple[str, str, str]] = set()
    broken = []
    batch = _Batch(store)
    for number, (place, manifest) in enumerate(_manifests(store, places), start=1):
        copy = (place.dataset, place.version, place.tier.name)
        if isinstance(manifest, Manifest):
            batch.add(manifest, place.tier)
            found.add(copy)
        elif manifest is not None:
            log.warning("skipped: %s", manifest)
            broken.append(manifest)
            unknown.add(copy)
        progress("rebuild", number, len(places), "versions")
    batch.record()
    moved = _moved_away(store, found - before)
    # What was committed while we looked is in neither set, and stays.
    lost = before - found - unknown
    store.catalog.forget(lost | moved)
    return RebuildReport(copies=len(found - moved), forgotten=len(lost), broken=tuple(broken))


class _Place(NamedTuple):
    """A version's folder on a tier, finished or not."""

    tier: Tier
    dataset: str
    version: str


def _manifests(store: Store, places: Sequence[_Place]) -> Iterator[tuple[_Place, Manifest | str | None]]:
    """Yield each place with its manifest, with what is wrong with that, or with ``None`` where there is none."""

    def read(place: _Place) -> Manifest | str | None:
        try:
            return store.stored_manifest(*place)
        except (CorruptDataError, ArchivedError) as error:
            return " ".join(str(error).split())

    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="rebuild") as pool:
        # A few at a time: manifests can be large, and the catalog is slower than storage.
        for start in range(0, len(places), 4 * _READS_AT_ONCE):
            some = places[start : start + 4 * _READS_AT_ONCE]
            yield from zip(some, pool.map(read, some), strict=True)


class _Batch:
    """Versions to record together: one transaction for each would be most of the work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: list[tuple[Manifest, Tier]] = []
        self._bytes = 0

    def add(self, manifest: Manifest, tier: Tier) -> None:
        """Take one more, and write all when they are enough."""
        self._items.append((manifest, tier))
        self._bytes += 200 * (1 + len(manifest.files) + len(manifest.sources))
        if len(self._items) >= _BATCH_VERSIONS or self._bytes >= _BATCH_BYTES:
            self.record()

    def record(self) -> None:
        """Write what was added to the catalog."""
        pairs = [(manifest, self._store.replica(manifest, tier)) for manifest, tier in self._items]
        self._store.catalog.add_all(pairs)
        self._items, self._bytes = [], 0


def _moved_away(store: Store, copies: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Return those copies that a task has moved away after we saw their manifests."""
    tiers = {tier.name: tier for tier in store.tiers}
    return {
        (dataset, version, tier)
        for dataset, version, tier in copies
        if not store.place(tiers[tier], dataset, version).exists(MANIFEST_NAME)
    }
