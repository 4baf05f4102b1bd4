"""The store: ordered tiers plus the catalog; where versions are made, found and cleaned up."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from airflow_dataflow.datasets.catalog.catalog import Catalog, Replica
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Kind, Manifest, new_version_id
from airflow_dataflow.datasets.name import Reference, check_dataset_name, is_version_id
from airflow_dataflow.errors import InvalidInputError, NotFoundError, did_you_mean
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft, verify
from airflow_dataflow.storage.tier import TIER_CLASSES, Tier

log = logging.getLogger(__name__)


class Store:
    """Tiers, nearest first, and the catalog that knows what lies where.

    :param tiers: at least one; sorted hot, warm, cold when they are not.
    :param catalog: the catalog.
    """

    def __init__(self, tiers: Sequence[Tier], catalog: Catalog) -> None:
        if not tiers:
            raise InvalidInputError("a store needs at least one tier; add one to the 'tiers' of its connection")
        names = [tier.name for tier in tiers]
        if len(set(names)) != len(names):
            raise InvalidInputError(f"tier names must differ, got {names}")
        self.tiers = tuple(sorted(tiers, key=lambda tier: TIER_CLASSES.index(tier.tier_class)))
        self.catalog = catalog

    # tiers ------------------------------------------------------------------------------------

    @property
    def hot(self) -> Tier:
        """The nearest tier, where new versions are made."""
        return self.tiers[0]

    def tier(self, name: str) -> Tier:
        """Return the tier of that name.

        :raises InvalidInputError: when there is none.
        """
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise InvalidInputError(f"no tier named {name!r}{did_you_mean(name, [tier.name for tier in self.tiers])}")

    # reading ----------------------------------------------------------------------------------

    def manifest(self, reference: Reference | str) -> Manifest:
        """Return the version that a reference names now.

        :raises NotFoundError: when there is none.
        """
        return self.catalog.resolve(reference)

    def directory(self, manifest: Manifest) -> Directory:
        """Return the folder of the nearest copy of a version.

        :raises NotFoundError: when no tier of the store holds it.
        """
        replicas = {replica.tier: replica for replica in self.catalog.replicas(manifest.dataset, manifest.version)}
        for tier in self.tiers:
            if tier.name in replicas:
                return self.place(tier, manifest.dataset, manifest.version)
        raise NotFoundError(
            f"{manifest.reference} lies on none of the tiers {', '.join(tier.name for tier in self.tiers)}"
        )

    @staticmethod
    def place(tier: Tier, dataset: str, version: str) -> Directory:
        """Return the folder that a version has, or would have, on a tier."""
        return tier.directory.child(f"{check_dataset_name(dataset)}/{version}")

    def verify(self, manifest: Manifest) -> list[Replica]:
        """Read every file of every copy in the store back and compare it with the manifest.

        :returns: the copies that were checked.
        :raises TransferError: when a file differs.
        :raises NotFoundError: when a file is missing.
        """
        checked = []
        for replica in self.catalog.replicas(manifest.dataset, manifest.version):
            if replica.tier is None:
                continue
            folder = self.place(self.tier(replica.tier), manifest.dataset, manifest.version)
            for entry in manifest.files:
                verify(folder, entry)
            self.catalog.put_replica(replica)
            checked.append(replica)
        return checked

    # writing ----------------------------------------------------------------------------------

    def find(self, dataset: str, fingerprint: str) -> Manifest | None:
        """Return the version that the same work has made before, ``None`` when it has to be done.

        A process killed between the manifest and the catalog row leaves a version that only storage knows;
        it is found there and recorded.
        """
        known = self.catalog.find(dataset, fingerprint)
        if known is not None:
            return known
        for version in self._version_folders(self.hot, dataset):
            if version.endswith(f"-{fingerprint[:6]}"):
                manifest = self._stored_manifest(self.hot, dataset, version)
                if manifest is not None and manifest.fingerprint == fingerprint:
                    self._record(manifest, self.hot)
                    return manifest
        return None

    @contextmanager
    def draft(
        self, dataset: str, *, at: datetime, fingerprint: str, kind: Kind = "dataset", parents: Iterable[str] = ()
    ) -> Iterator[VersionDraft]:
        """Make a version on the hot tier; call the draft's ``commit`` inside the block.

        The id follows from ``at`` and ``fingerprint``, so an attempt after a kill works in the same folder and
        starts by removing what the killed one left. An error inside the block removes the folder.

        :param at: moment that the version belongs to; in a DAG the run's time, never the clock of the attempt.
        """
        version = new_version_id(at, fingerprint)
        folder = self.place(self.hot, dataset, version)
        if folder.exists(MANIFEST_NAME):
            raise InvalidInputError(f"{dataset}@{version} exists already; use find before draft")
        folder.remove_all()
        draft = VersionDraft(
            folder, dataset=dataset, version=version, kind=kind, fingerprint=fingerprint, parents=parents
        )
        try:
            yield draft
        except BaseException:
            if draft.manifest is None:
                folder.remove_all()
            raise
        if draft.manifest is None:
            folder.remove_all()
            raise InvalidInputError(f"the draft of {dataset}@{version} was never committed")
        self._record(draft.manifest, self.hot)

    def _record(self, manifest: Manifest, tier: Tier) -> None:
        self.catalog.add(manifest, self.replica(manifest, tier))

    def replica(self, manifest: Manifest, tier: Tier) -> Replica:
        """Return the catalog's description of a version's copy on a tier."""
        return Replica(
            dataset=manifest.dataset,
            version=manifest.version,
            location=tier.name,
            tier=tier.name,
            url=self.place(tier, manifest.dataset, manifest.version).url,
        )

    def remove_copy(self, tier: Tier, dataset: str, version: str) -> None:
        """Delete the files of a version on a tier, the manifest first, so that no half of it is ever visible."""
        folder = self.place(tier, dataset, version)
        folder.remove(MANIFEST_NAME)
        folder.remove_all()

    # upkeep -----------------------------------------------------------------------------------

    def sweep(self, *, grace: timedelta, now: datetime | None = None) -> list[str]:
        """Remove version folders without a manifest that nobody has touched for ``grace``.

        :param grace: how long an unfinished version may take; one that is being written is never removed.
        :param now: the present; the clock when ``None``.
        :returns: URLs of the folders that were removed.
        """
        limit = (now or datetime.now(UTC)) - grace
        removed = []
        for tier in self.tiers:
            for dataset, version in self._all_version_folders(tier):
                folder = self.place(tier, dataset, version)
                if folder.exists(MANIFEST_NAME) or _last_change(folder) > limit:
                    continue
                log.info("sweeping %s: no manifest, unchanged for %s", folder.url, grace)
                folder.remove_all()
                removed.append(folder.url)
        return removed

    def rebuild(self) -> int:
        """Restore the catalog's versions and tier replicas from the manifests in storage.

        Publications are copies outside the store; those that the catalog still knows are kept.

        :returns: the number of version copies found.
        """
        found = 0
        for tier in self.tiers:
            for dataset, version in self._all_version_folders(tier):
                manifest = self._stored_manifest(tier, dataset, version)
                if manifest is not None:
                    self._record(manifest, tier)
                    found += 1
        return found

    def _all_version_folders(self, tier: Tier) -> list[tuple[str, str]]:
        folders = set()
        for path in tier.directory.files():
            parts = path.split("/")
            for depth, part in enumerate(parts[:-1]):
                if is_version_id(part):
                    folders.add(("/".join(parts[:depth]), part))
                    break
        return sorted(folders)

    def _version_folders(self, tier: Tier, dataset: str) -> list[str]:
        folder = tier.directory.child(check_dataset_name(dataset))
        folder.fs.invalidate_cache()
        try:
            names = [path.rstrip("/").rsplit("/", 1)[-1] for path in folder.fs.ls(folder.root, detail=False)]
        except FileNotFoundError:
            return []
        return sorted((name for name in names if is_version_id(name)), reverse=True)

    def _stored_manifest(self, tier: Tier, dataset: str, version: str) -> Manifest | None:
        folder = self.place(tier, dataset, version)
        if not folder.exists(MANIFEST_NAME):
            return None
        return Manifest.from_bytes(folder.read(MANIFEST_NAME), f"{folder.url}/{MANIFEST_NAME}")


def _last_change(folder: Directory) -> datetime:
    newest = datetime.min.replace(tzinfo=UTC)
    for relative in folder.files():
        changed = folder.fs.modified(folder.path(relative))
        newest = max(newest, changed if changed.tzinfo else changed.replace(tzinfo=UTC))
    return newest
