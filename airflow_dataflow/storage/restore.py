"""Versions whose files lie in an archive: asking for them, and seeing when they can be read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import ArchivedError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.backends import ArchiveState
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store

_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class RestoreReport:
    """What became of a version's files when they were asked for."""

    version: str
    """Fixed reference of the version."""
    tier: str
    """Name of the tier whose copy it is about."""
    files: int
    """Number of the version's files; packs where they lie in packs."""
    bytes: int
    """Bytes of these files."""
    readable: int
    """Files that could be read at once."""
    requested: int
    """Files that the store was asked for now; an earlier attempt may have asked for the others."""

    def __str__(self) -> str:
        return (
            f"{self.files:,} files with {self.bytes:,} bytes: {self.readable:,} readable, {self.requested:,} asked for,"
            f" {self.files - self.readable - self.requested:,} on their way"
        )

    @property
    def complete(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.readable == self.files

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def restore_version(
    store: Store,
    reference: str,
    *,
    tier: str | None = None,
    days: int,
    speed: str,
    progress: Progress = no_progress,
) -> RestoreReport:
    """Ask a tier for every archived file of a version; it answers hours later, see :class:`RestoreWatch`.

    What was asked for before is not asked for again, so a second attempt asks for the rest; copies that are readable
    already live longer.

    :param store: where the version is.
    :param reference: the version, e.g. ``support/dialogs@latest~1``.
    :param tier: whose copy; the one that readers get, which is the nearest, when ``None``.
    :param days: how long the files are to stay readable.
    :param speed: the tier's own name of how fast: ``Bulk``, ``Standard`` or ``Expedited`` on S3.
    :param progress: told about every file.
    :raises NotFoundError: when the version has no copy there, or a file of it is missing.
    :raises UnsupportedError: when the server cannot restore.
    """
    manifest, place, name = _copy_of(store, reference, tier)

    def ask(path: str) -> ArchiveState:
        state = place.archive_state(path)
        # A copy that was restored before is asked for as well, which prolongs its life.
        place.restore(path, days=days, speed=speed)
        return state

    paths = _stored(manifest, place)

    states = []
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="restore") as pool:
        for state in pool.map(ask, paths):
            states.append(state)
            progress(f"restore {manifest.reference}", len(states), len(paths), "files")
    return RestoreReport(
        version=manifest.reference,
        tier=name,
        files=len(states),
        bytes=manifest.total_bytes,
        readable=states.count("readable"),
        requested=states.count("archived"),
    )


class RestoreWatch:
    """Looks again and again whether all files of a version can be read.

    What was readable once is not looked at again, and each look but the first ends at the first file that is not, so
    that days of waiting for thousands of files cost little.

    :param store: where the version is.
    :param reference: the version.
    :param tier: whose copy; the nearest when ``None``.
    """

    def __init__(self, store: Store, reference: str, tier: str | None = None) -> None:
        self.manifest, self._place, self._tier = _copy_of(store, reference, tier)
        self._paths = _stored(self.manifest, self._place)
        self._pending = self._paths
        self._looked = False

    @property
    def readable(self) -> int:
        """Number of files that can be read."""
        return len(self._paths) - len(self._pending)

    @property
    def complete(self) -> bool:
        """Whether all files can be read."""
        return not self._pending

    def look(self) -> bool:
        """Look, and tell whether all files can be read.

        :raises ArchivedError: when nobody has asked for a file, or its readable copy has expired meanwhile.
        """
        if self._looked:
            while self._pending and self._state(self._pending[0]) == "readable":
                self._pending = self._pending[1:]
            return self.complete
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="restore") as pool:
            states = list(pool.map(self._state, self._pending))
        both = zip(self._pending, states, strict=True)
        self._pending = tuple(path for path, state in both if state != "readable")
        self._looked = True
        return self.complete

    def _state(self, path: str) -> ArchiveState:
        state = self._place.archive_state(path)
        if state == "archived":
            raise ArchivedError(
                f"{path} of {self.manifest.reference} on tier {self._tier!r} is archived and nobody has asked "
                "for it, or its readable copy has expired: run RestoreDatasetOperator before, with enough 'days'"
            )
        return state

    def summary(self) -> dict[str, Any]:
        """Return what can be read now: the version's fixed reference, the tier, and the number and bytes of files."""
        counts = {"files": len(self._paths), "bytes": self.manifest.total_bytes}
        return {"version": self.manifest.reference, "tier": self._tier, **counts}


def _stored(manifest: Manifest, place: Directory) -> tuple[str, ...]:
    """Return the paths of what has to be restored: packs and their layout, or the files themselves."""
    return tuple(place.stored()) or tuple(entry.path for entry in manifest.files)


def _copy_of(store: Store, reference: str, tier: str | None) -> tuple[Manifest, Directory, str]:
    manifest = store.manifest(reference)
    holder = store.tier_of(manifest, tier)
    return manifest, store.place(holder, manifest.dataset, manifest.version), holder.name
