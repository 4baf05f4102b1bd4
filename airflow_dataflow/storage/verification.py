"""Reading copies of versions back, and comparing them with their manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import ArchivedError, CorruptDataError, DataflowError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import damage
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

State = Literal["whole", "damaged", "archived", "unknown", "moved"]
"""``unknown``: the tier could not be read; ``moved``: a task has moved the copy away meanwhile."""


@dataclass(frozen=True, kw_only=True)
class CopyCheck:
    """What a check of one copy found."""

    version: str
    """Fixed reference of the version."""
    tier: str
    """Name of the tier that the copy lies on."""
    state: State
    damages: tuple[tuple[str, str], ...] = ()
    """Path of each bad file, and how it differs."""
    trouble: str = ""
    """Why the copy could not be checked."""

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to do something."""
        return self.state in ("damaged", "unknown")


def check_copy(
    store: Store, manifest: Manifest, tier: Tier, *, done: Callable[[int], None] = lambda _bytes: None
) -> CopyCheck:
    """Read every file of a copy, and its manifest, and compare them with what the catalog knows.

    Tasks may run meanwhile. A copy that is whole gets the time of this check in the catalog.

    :param done: told about the bytes of each file that was compared.
    """
    folder = store.reading(tier, manifest, "verify")
    try:
        found = damages_of(store, manifest, tier, folder, done)
    except ArchivedError as error:
        return CopyCheck(version=manifest.reference, tier=tier.name, state="archived", trouble=str(error))
    except (DataflowError, OSError) as error:
        return CopyCheck(version=manifest.reference, tier=tier.name, state="unknown", trouble=str(error))
    if not found:
        known = store.catalog.verified(store.replica(manifest, tier))
        return CopyCheck(version=manifest.reference, tier=tier.name, state="whole" if known else "moved")
    state: State = "damaged" if lies_on(store, manifest, tier) else "moved"
    return CopyCheck(version=manifest.reference, tier=tier.name, state=state, damages=tuple(found))


def damages_of(
    store: Store, manifest: Manifest, tier: Tier, folder: Directory, done: Callable[[int], None]
) -> list[tuple[str, str]]:
    """Return path and difference of each bad file of a copy; the manifest is one of them."""
    found = []
    for entry in manifest.files:
        differs = damage(folder, entry)
        if differs is not None:
            found.append((entry.path, differs))
        done(entry.bytes)
    differs = _manifest_damage(store, manifest, tier, folder)
    return found if differs is None else [*found, (MANIFEST_NAME, differs)]


def _manifest_damage(store: Store, manifest: Manifest, tier: Tier, folder: Directory) -> str | None:
    try:
        stored = store.stored_manifest(tier, manifest.dataset, manifest.version)
    except CorruptDataError as error:
        return str(error)
    if stored is None:
        return f"{folder.url}/{MANIFEST_NAME} is missing"
    if stored != manifest:
        return f"{folder.url}/{MANIFEST_NAME} is a manifest, but not the one that the catalog knows"
    return None


def lies_on(store: Store, manifest: Manifest, tier: Tier) -> bool:
    """Tell whether the catalog lists a copy of a version on a tier."""
    return tier.name in {replica.tier for replica in store.catalog.replicas(manifest.dataset, manifest.version)}
