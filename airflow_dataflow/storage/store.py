"""The store: ordered tiers plus the catalog; where versions are made, found and cleaned up."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from airflow_dataflow.datasets.catalog.catalog import Catalog, Replica
from airflow_dataflow.datasets.catalog.reads import Purpose, Reader
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Kind, Manifest, new_version_id
from airflow_dataflow.datasets.name import Reference, check_dataset_name, is_dataset_name, is_version_id
from airflow_dataflow.errors import BusyError, CorruptDataError, InvalidInputError, NotFoundError, did_you_mean
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft, verify_all
from airflow_dataflow.storage.reading import ReadLog
from airflow_dataflow.storage.staging import remove_abandoned_parts
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
        self.read_log = ReadLog(catalog)
        """Collects what is read of the versions that :meth:`directory` opens."""

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

    def directory(self, manifest: Manifest, *, tier: str | None = None, purpose: Purpose = "use") -> Directory:
        """Return the folder of a version's copy, for reading; what is read of it is recorded in the catalog.

        :param tier: name of the tier; the nearest one that holds the version when ``None``.
        :param purpose: why it is read.
        :raises NotFoundError: when that tier, or any, does not hold it.
        """
        return self.reading(self.tier_of(manifest, tier), manifest, purpose)

    def reading(self, tier: Tier, manifest: Manifest, purpose: Purpose) -> Directory:
        """Return the folder of a version on a tier, whether the catalog knows that copy or not, for reading."""
        tally = self.read_log.tally(manifest.dataset, manifest.version, tier.name, purpose)
        return self.place(tier, manifest.dataset, manifest.version).counted(tally)

    @contextmanager
    def read_by(self, reader: Reader) -> Iterator[Store]:
        """Say who reads versions inside the block; when it ends, what was read is recorded and no connection stays."""
        try:
            with self.read_log.read_by(reader):
                yield self
        finally:
            self.catalog.release()

    def tier_of(self, manifest: Manifest, name: str | None = None) -> Tier:
        """Return the nearest tier that holds a version, or the tier of that name if it does.

        :raises NotFoundError: when it does not, or none does.
        """
        tiers = self.tiers if name is None else (self.tier(name),)
        holders = {replica.tier for replica in self.catalog.replicas(manifest.dataset, manifest.version)}
        for tier in tiers:
            if tier.name in holders:
                return tier
        raise NotFoundError(f"{manifest.reference} lies on none of the tiers {', '.join(tier.name for tier in tiers)}")

    def place(self, tier: Tier, dataset: str, version: str) -> Directory:
        """Return the folder that a version has, or would have, on a tier."""
        return tier.directory.child(f"{check_dataset_name(dataset)}/{version}")

    def verify(self, manifest: Manifest) -> list[Replica]:
        """Read every file of every copy in the store back and compare it with the manifest.

        :returns: the copies that were checked.
        :raises TransferError: when a file differs or is missing.
        """
        checked = []
        for replica in self.catalog.replicas(manifest.dataset, manifest.version):
            if replica.tier is None:
                continue
            folder = self.reading(self.tier(replica.tier), manifest, "verify")
            verify_all(folder, manifest.files)
            if self.catalog.verified(replica):
                checked.append(replica)
        return checked

    # writing ----------------------------------------------------------------------------------

    def find(self, dataset: str, fingerprint: str) -> Manifest | None:
        """Return the version that the same work has made before, ``None`` when it has to be done.

        A process killed between the manifest and the catalog row leaves a version that only storage knows;
        it is found there and recorded. A row whose files somebody has deleted is no version any more.
        """
        known = self.catalog.find(dataset, fingerprint)
        if known is not None and self._lies_somewhere(known):
            return known
        for version in self.versions_on(self.hot, dataset):
            if version.endswith(f"-{fingerprint[:6]}"):
                manifest = self.stored_manifest(self.hot, dataset, version)
                if manifest is not None and manifest.fingerprint == fingerprint:
                    self.record(manifest, self.hot)
                    return manifest
        return None

    @contextmanager
    def draft(
        self, dataset: str, *, at: datetime, fingerprint: str, kind: Kind = "dataset", parents: Iterable[str] = ()
    ) -> Iterator[VersionDraft]:
        """Make a version on the hot tier; call the draft's ``commit`` inside the block.

        The id follows from ``at`` and ``fingerprint``, so an attempt after a kill works in the same folder and
        starts by removing what the killed one left. An error inside the block removes the folder. Where the tier has
        locks, one process at a time does that; where it has none, nothing is removed, since equal fingerprints write
        equal bytes, and :meth:`sweep` cleans up.

        :param at: moment that the version belongs to; in a DAG the run's time, never the clock of the attempt.
        :raises BusyError: when another process is making the same version, or has made it since ``find``.
        """
        version = new_version_id(at, fingerprint)
        folder = self.place(self.hot, dataset, version)
        with folder.lock() as sole:
            self._check_new(dataset, version, fingerprint)
            if sole:
                folder.remove_all()
            draft = VersionDraft(
                folder, dataset=dataset, version=version, kind=kind, fingerprint=fingerprint, parents=parents, sole=sole
            )
            self.catalog.release()
            try:
                yield draft
                _check_committed(draft)
            except BaseException:
                if draft.manifest is None and sole:
                    folder.remove_all()
                raise
        self.record(_check_committed(draft), self.hot)

    def _check_new(self, dataset: str, version: str, fingerprint: str) -> None:
        existing = self.stored_manifest(self.hot, dataset, version)
        if existing is None:
            return
        if existing.fingerprint == fingerprint:
            raise BusyError(f"another process has just made {existing.reference}; a retry finds that version")
        raise InvalidInputError(
            f"{existing.reference} exists already and was made from something else; give the new one another moment"
        )

    def record(self, manifest: Manifest, tier: Tier) -> None:
        """Put a version and its copy on a tier into the catalog."""
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
        with folder.lock():
            folder.remove(MANIFEST_NAME)
            folder.remove_all()

    # upkeep -----------------------------------------------------------------------------------

    def sweep(self, *, grace: timedelta, now: datetime | None = None) -> list[str]:
        """Remove what killed processes left behind: versions without a manifest, parts that were to be passed on to
        other sites, half files, unfinished uploads.

        :param grace: how long an unfinished version may take. What a process on this machine is writing is never
            removed, however long it takes; on a tier without locks the grace alone protects it.
        :param now: the present; the clock when ``None``.
        :returns: what was removed, as URLs of folders and paths of files.
        """
        limit = (now or datetime.now(UTC)) - grace
        removed = []
        for tier in self.tiers:
            for dataset, version in self.all_versions_on(tier):
                folder = self.place(tier, dataset, version)
                if self._sweep_folder(folder, limit):
                    log.info("swept %s: no manifest, unchanged for %s", folder.url, grace)
                    removed.append(folder.url)
            removed += remove_abandoned_parts(tier.directory, limit)
            removed += tier.directory.remove_unfinished(limit)
        return removed

    @staticmethod
    def _sweep_folder(folder: Directory, limit: datetime) -> bool:
        if folder.exists(MANIFEST_NAME) or folder.changed_at() > limit:
            return False
        try:
            with folder.lock():
                if folder.exists(MANIFEST_NAME) or folder.changed_at() > limit:
                    return False
                folder.remove_all()
        except BusyError:
            return False
        return True

    def versions_on(self, tier: Tier, dataset: str) -> list[str]:
        """Return the ids of a dataset's version folders on a tier, newest first, unfinished ones included."""
        folder = tier.directory.child(check_dataset_name(dataset))
        return [name for name in reversed(folder.folders()) if is_version_id(name)]

    def all_versions_on(self, tier: Tier) -> list[tuple[str, str]]:
        """Return dataset and id of all version folders on a tier, sorted, unfinished ones included."""
        found = []
        todo = [("", tier.directory)]
        while todo:
            dataset, folder = todo.pop()
            for name in folder.folders():
                if is_version_id(name):
                    found.append((dataset, name))
                elif is_dataset_name(name):
                    todo.append((f"{dataset}/{name}".lstrip("/"), folder.child(name)))
        return sorted(item for item in found if item[0])

    def _lies_somewhere(self, manifest: Manifest) -> bool:
        replicas = self.catalog.replicas(manifest.dataset, manifest.version)
        on = {replica.tier for replica in replicas}
        return any(
            self.place(tier, manifest.dataset, manifest.version).exists(MANIFEST_NAME)
            for tier in self.tiers
            if tier.name in on
        )

    def stored_manifest(self, tier: Tier, dataset: str, version: str) -> Manifest | None:
        """Return the manifest in the folder of a version on a tier, ``None`` when there is none.

        :raises CorruptDataError: when it is no manifest, or that of another version.
        """
        folder = self.place(tier, dataset, version)
        try:
            manifest = Manifest.from_bytes(folder.read(MANIFEST_NAME), f"{folder.url}/{MANIFEST_NAME}")
        except NotFoundError:
            return None
        if (manifest.dataset, manifest.version) != (dataset, version):
            raise CorruptDataError(f"the manifest in {folder.url} is that of {manifest.reference}: it was copied there")
        return manifest


def _check_committed(draft: VersionDraft) -> Manifest:
    if draft.manifest is None:
        raise InvalidInputError(f"the draft of {draft.dataset}@{draft.version} was never committed")
    return draft.manifest
