"""Moving versions between the tiers of a store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import SMALL_FILE_BYTES
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.copy import copy_version_files
from airflow_dataflow.transfer.identity import transfer_id
from airflow_dataflow.transfer.journal import Journal, NoJournal
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Move:
    """A version that changed its tier."""

    version: str
    """Fixed reference of the version."""
    source: str
    """Name of the tier that it left."""
    target: str
    """Name of the tier that it lies on now."""
    bytes: int
    """Bytes of its files."""


def copy_version(
    store: Store,
    reference: str,
    target: str,
    *,
    options: TransferOptions | None = None,
    journal: Journal | None = None,
    control: Control | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy a version to one more tier of its store.

    :param reference: the version, e.g. ``support/dialogs@latest~1``.
    :param target: name of the tier.
    :param options: how to transfer; a dry run returns the report of what would be done.
    :param journal: what earlier attempts have done; cleared in the end.
    :param control: limits, and a stop from outside.
    :param progress: told about every file and part.
    :raises InvalidInputError: when there is no such tier.
    """
    manifest, tier = store.manifest(reference), store.tier(target)
    how = _suiting(tier, options or TransferOptions())
    report = copy_version_files(
        manifest,
        store.directory(manifest, purpose="move"),
        store.place(tier, manifest.dataset, manifest.version),
        share=True,
        options=how,
        journal=journal,
        control=control,
        progress=progress,
    )
    if not how.dry_run:
        store.catalog.put_replica(store.replica(manifest, tier))
        if journal is not None:
            journal.clear()
    return report


def _suiting(tier: Tier, options: TransferOptions) -> TransferOptions:
    """Return the options with what the tier wants of versions that are copied to it, where they do not say more."""
    if options.compress == "off":
        options = replace(options, compress=tier.compress)
    if tier.pack_below_bytes and not options.pack:
        options = replace(options, pack=True, pack_below_bytes=tier.pack_below_bytes)
    return options


def _copy(
    store: Store, manifest: Manifest, source: Directory, tier: Tier, *, control: Control, progress: Progress
) -> None:
    target = store.place(tier, manifest.dataset, manifest.version)
    options = _suiting(tier, TransferOptions())
    with _journal(store, manifest, target, options, control) as journal:
        copy_version_files(
            manifest,
            source,
            target,
            share=True,
            options=options,
            journal=journal,
            control=control,
            progress=progress,
        )
        store.catalog.put_replica(store.replica(manifest, tier))
        journal.clear()


def _journal(
    store: Store, manifest: Manifest, target: Directory, options: TransferOptions, control: Control
) -> AbstractContextManager[Journal]:
    """Return the journal of a move; small files need none, since each of them is whole or not there."""
    if all(entry.bytes <= SMALL_FILE_BYTES for entry in manifest.files):
        return nullcontext(NoJournal())
    transfer = transfer_id([manifest.reference], target.url, options)
    return CatalogJournal(store.catalog, transfer, target.url, sleep=control.sleep)


def rebalance(
    store: Store,
    datasets: Sequence[str] | None = None,
    *,
    hot_versions: int = 1,
    warm_versions: int = 1,
    control: Control | None = None,
    progress: Progress = no_progress,
) -> list[Move]:
    """Move all but the newest versions of each dataset to the warm tier, and all but the newest there to the coldest.

    A version never moves to a nearer tier.

    A move copies, verifies, changes the catalog and only then deletes, so a kill at any point loses nothing; the next
    call finishes it, also the deletion of a copy that the catalog has already forgotten.

    :param datasets: names of the datasets; all when ``None``.
    :param hot_versions: how many versions of each dataset stay where they are.
    :param warm_versions: how many of the next ones lie on the first tier of class ``warm``; a store without such a tier
        has none.
    :param control: limits, and a stop from outside.
    :param progress: told about every file and part.
    :returns: the moves that were made, none when everything lies where it should.
    """
    if hot_versions < 1:
        raise InvalidInputError(f"hot_versions must be at least 1, got {hot_versions}")
    if warm_versions < 0:
        raise InvalidInputError(f"warm_versions must be at least 0, got {warm_versions}")
    warm = next((tier for tier in store.tiers if tier.tier_class == "warm"), store.tiers[-1])
    control = control or Control()
    return [
        move
        for dataset in (store.catalog.datasets() if datasets is None else datasets)
        for age, manifest in enumerate(store.catalog.manifests(dataset)[hot_versions:])
        for move in _demote(store, manifest, warm if age < warm_versions else store.tiers[-1], control, progress)
    ]


def _demote(store: Store, manifest: Manifest, target: Tier, control: Control, progress: Progress) -> list[Move]:
    """Give up the copies on tiers that are nearer than ``target``, once it has one."""
    moves = []
    for tier in store.tiers[: store.tiers.index(target)]:
        folder = store.reading(tier, manifest, "move")
        if not folder.files():
            continue
        # Files without a manifest are what a move or copy that was killed left; they are no copy of anything.
        whole = folder.exists(MANIFEST_NAME)
        if whole:
            _copy(store, manifest, folder, target, control=control, progress=progress)
            store.catalog.remove_replica(store.replica(manifest, tier))
        store.remove_copy(tier, manifest.dataset, manifest.version)
        if not whole:
            continue
        # Once more: a rebuild of the catalog may have seen the manifest and recorded the copy meanwhile.
        store.catalog.remove_replica(store.replica(manifest, tier))
        log.info("moved %s from %s to %s: %s bytes", manifest.reference, tier.name, target.name, manifest.total_bytes)
        moves.append(Move(manifest.reference, tier.name, target.name, manifest.total_bytes))
    return moves
