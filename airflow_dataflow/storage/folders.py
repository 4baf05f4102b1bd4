"""Plain folders that act as a store, so that the same work runs without one: each folder holds one version."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

_NEW = "version"


class FolderStore(Store):
    """A store of the versions in some folders, which makes its one new version in a folder of its own.

    :param target: folder of the new version, absent or empty.
    :param sources: folders that hold one version each.
    :raises NotFoundError: when a source holds no version.
    """

    def __init__(self, target: Path, sources: Iterable[Path]) -> None:
        super().__init__([Tier(name="folder", tier_class="hot", url=str(target.absolute()))], Catalog("sqlite://"))
        self._folders: dict[tuple[str, str], Directory] = {}
        self.references = [self._add(source) for source in sources]
        """Fixed references of the versions in the sources, in their order."""

    def _add(self, folder: Path) -> str:
        if not (folder / MANIFEST_NAME).is_file():
            raise NotFoundError(
                f"{str(folder)!r} holds no version (no {MANIFEST_NAME}); name a folder that 'dataflow' has made"
            )
        directory = Directory.from_url(str(folder))
        manifest = Manifest.from_bytes(directory.read(MANIFEST_NAME), f"{directory.url}/{MANIFEST_NAME}")
        self._folders[manifest.dataset, manifest.version] = directory
        self.record(manifest, self.hot)
        return manifest.reference

    def place(self, tier: Tier, dataset: str, version: str) -> Directory:
        """Return the folder of a version; a new one has the target."""
        return self._folders.get((dataset, version), tier.directory)

    def versions_on(self, tier: Tier, dataset: str) -> list[str]:  # noqa: ARG002 - there is but one
        """Return the ids of a dataset's versions, newest first."""
        return sorted((version for name, version in self._folders if name == dataset), reverse=True)


@contextmanager
def new_version_in(target: Path, sources: Iterable[Path]) -> Iterator[FolderStore]:
    """Open a store whose new version appears in ``target`` as a whole when the block ends without an error.

    :param target: a new or empty folder, or one that the same work has made before: the store then finds that version.
    :param sources: folders that hold one version each.
    :raises NotFoundError: when a source holds no version.
    :raises InvalidInputError: when something else is in the target.
    """
    known = [target] if (target / MANIFEST_NAME).is_file() else []
    if not known:
        _check_empty(target)
    with made_beside(target) as folder:
        yield FolderStore(folder / _NEW, [*sources, *known])
        if (folder / _NEW).exists():
            put_in_place(folder / _NEW, target)


@contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """Make an empty folder on the same disk as ``target``, for this process alone, and remove it in the end."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.partial")
    with Directory.from_url(str(folder)).lock():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Rename the folder of a version to ``target``, unless that holds the same version.

    :raises InvalidInputError: when something else is in the target.
    """
    manifest = target / MANIFEST_NAME
    if manifest.is_file() and manifest.read_bytes() == (folder / MANIFEST_NAME).read_bytes():
        return
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _taken(target) from error
        raise


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise _taken(target)


def _taken(target: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{str(target)!r} is not empty and was not made from the same input by the same recipe; "
        "name a new folder, or remove it"
    )
