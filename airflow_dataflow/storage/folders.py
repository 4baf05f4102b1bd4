"""Plain folders that act as a store, so that the same work runs without one: each folder holds one version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Kind, Manifest
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier


class FolderStore(Store):
    """A store of the versions in some folders, which makes its one new version in a folder of its own.

    The folder that it writes to has to be new or empty, or to hold the version that the same work has made before;
    nothing that a person keeps there is ever removed.

    :param target: folder of the new version.
    :param sources: folders that hold one version each.
    :raises NotFoundError: when a source holds no version.
    """

    def __init__(self, target: Path, sources: Iterable[Path]) -> None:
        super().__init__([Tier(name="folder", tier_class="hot", url=str(target.absolute()))], Catalog("sqlite://"))
        self._target = target
        self._folders: dict[tuple[str, str], Directory] = {}
        self._versions = [self._add(source) for source in sources]
        if (target / MANIFEST_NAME).exists():
            self._add(target)

    @property
    def references(self) -> list[str]:
        """Fixed references of the versions in the sources, in their order."""
        return [manifest.reference for manifest in self._versions]

    def _add(self, folder: Path) -> Manifest:
        directory = Directory.from_url(str(folder))
        try:
            content = directory.read(MANIFEST_NAME)
        except NotFoundError as error:
            raise NotFoundError(
                f"{str(folder)!r} holds no version (no {MANIFEST_NAME}); name a folder that 'dataflow' has made"
            ) from error
        manifest = Manifest.from_bytes(content, f"{directory.url}/{MANIFEST_NAME}")
        self._folders[manifest.dataset, manifest.version] = directory
        self._record(manifest, self.hot)
        return manifest

    def place(self, tier: Tier, dataset: str, version: str) -> Directory:
        """Return the folder of a version; a new one has the target."""
        return self._folders.get((dataset, version), tier.directory)

    def versions_on(self, tier: Tier, dataset: str) -> list[str]:  # noqa: ARG002 - there is but one
        """Return the ids of a dataset's versions, newest first."""
        return sorted((version for name, version in self._folders if name == dataset), reverse=True)

    @contextmanager
    def draft(
        self, dataset: str, *, at: datetime, fingerprint: str, kind: Kind = "dataset", parents: Iterable[str] = ()
    ) -> Iterator[VersionDraft]:
        """Make the version in the target folder.

        :raises InvalidInputError: when something else is there.
        """
        if self._target.exists() and (not self._target.is_dir() or any(self._target.iterdir())):
            raise InvalidInputError(
                f"{str(self._target)!r} is not empty and was not made by the same work; name a new folder, or remove it"
            )
        with super().draft(dataset, at=at, fingerprint=fingerprint, kind=kind, parents=parents) as draft:
            yield draft
