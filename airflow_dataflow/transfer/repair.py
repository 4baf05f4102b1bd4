"""Mending a damaged copy of a version from the other copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Manifest
from airflow_dataflow.errors import CorruptDataError, NotFoundError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.storage.verification import CopyCheck, check_copy, lies_on
from airflow_dataflow.transfer.copy import copy_file

log = logging.getLogger(__name__)


def repair_copy(store: Store, check: CopyCheck) -> CopyCheck:
    """Write the bad files of a copy anew, each from the nearest copy that has it whole, then check the copy again.

    A file is replaced as a whole or not at all; what no other copy has whole stays as it is. The manifest comes last,
    from the catalog, unless the one in storage is a good manifest of another content: that is for a person to judge.

    :param check: what a check found.
    :returns: what a second check finds.
    :raises BusyError: when another process is writing that copy.
    """
    manifest, tier = store.manifest(check.version), store.tier(check.tier)
    folder = store.place(tier, manifest.dataset, manifest.version)
    entries = {entry.path: entry for entry in manifest.files}
    with folder.lock():
        if not lies_on(store, manifest, tier):
            return check_copy(store, manifest, tier)
        others = [other for other in store.tiers if other != tier and lies_on(store, manifest, other)]
        for path, _ in check.damages:
            if path != MANIFEST_NAME:
                _mend(store, manifest, entries[path], folder, others)
        if MANIFEST_NAME in dict(check.damages) and _can_be_replaced(store, manifest, tier):
            with folder.create(MANIFEST_NAME) as writer:
                writer.write(manifest.to_bytes())
    return check_copy(store, manifest, tier)


def _mend(store: Store, manifest: Manifest, entry: FileEntry, target: Directory, others: Sequence[Tier]) -> None:
    for other in others:
        source = store.reading(other, manifest, "move")
        try:
            copy_file(source, entry, target)
        except (NotFoundError, CorruptDataError) as error:
            log.warning("%s of %s is no help on tier %s: %s", entry.path, manifest.reference, other.name, error)
        else:
            log.info("mended %s/%s from tier %s", target.url, entry.path, other.name)
            return


def _can_be_replaced(store: Store, manifest: Manifest, tier: Tier) -> bool:
    try:
        return store.stored_manifest(tier, manifest.dataset, manifest.version) is None
    except CorruptDataError:
        return True
