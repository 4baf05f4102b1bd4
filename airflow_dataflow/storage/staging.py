"""Parts of files that a site passes on while it still receives: small objects beside the versions, gone in the end.

They lie under ``<site>/_staging/<dataset with dots for slashes>@<version>/``, one object for each part, named after
the digest of its file. Each begins with the digest of what follows, so that a reader in another process, on another
machine, knows whether it has got all of it unharmed.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime

import xxhash

from airflow_dataflow.errors import BusyError, NotFoundError, TransferError
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.directory import Directory

log = logging.getLogger(__name__)

STAGING_NAME = "_staging"
"""Folder of a tier or site; no dataset can have this name."""
_SEAL_BYTES = 16
_FAILED = "failed"


class Staging:
    """The parts of one version at one site.

    :param site: folder of the site.
    :param dataset: name of the dataset.
    :param version: version id.
    """

    def __init__(self, site: Directory, dataset: str, version: str) -> None:
        self._site = site
        self._folder = site.child(f"{STAGING_NAME}/{dataset.replace('/', '.')}@{version}")

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write a part, in place of one that is there."""
        self._folder.put(name, xxhash.xxh3_128_digest(data) + bytes(data))

    def read(self, name: str, length: int) -> memoryview | None:
        """Return a part, ``None`` when it is not there; others look for it all the time, so this is one request.

        :param length: bytes that it has to have.
        :raises TransferError: when it arrived damaged.
        """
        path, backend = self._folder.path(name), self._folder.backend
        try:
            with errors_explained(name, backend, path):
                stored = memoryview(backend.read_range(path, 0, length + _SEAL_BYTES))
        except (FileNotFoundError, NotFoundError):
            return None
        data = stored[_SEAL_BYTES:]
        if len(data) != length or xxhash.xxh3_128_digest(data) != stored[:_SEAL_BYTES]:
            raise TransferError(f"{self._folder.url}/{name} arrived damaged")
        return data

    def parts(self) -> dict[str, int]:
        """Return the parts that are there, name to size in bytes."""
        return {name: size - _SEAL_BYTES for name, size in self._folder.files().items() if name != _FAILED}

    def mark_failed(self) -> None:
        """Tell those who wait for parts that no more are to come from here."""
        self._folder.put(_FAILED, b"")

    def unmark_failed(self) -> None:
        """Take that back."""
        self._folder.remove(_FAILED)

    def has_failed(self) -> bool:
        """Tell whether no more parts are to come from here."""
        return self._folder.exists(_FAILED)

    def remove(self) -> None:
        """Remove all parts; doing it again changes nothing."""
        self._folder.remove_all()
        _remove_if_empty(self._site)


def remove_abandoned_parts(site: Directory, before: datetime) -> list[str]:
    """Remove the parts of versions to which nothing was added since ``before``.

    :returns: URLs of the folders that were removed.
    """
    removed = []
    folder = site.child(STAGING_NAME)
    for name in folder.folders():
        one = folder.child(name)
        if one.changed_at() < before:
            one.remove_all()
            removed.append(one.url)
            log.info("removed %s, which a replication that was killed has left", one.url)
    if removed:
        _remove_if_empty(site)
    return removed


def _remove_if_empty(site: Directory) -> None:
    if site.is_local:
        with suppress(OSError, BusyError):
            site.fs.rmdir(site.path(STAGING_NAME))
