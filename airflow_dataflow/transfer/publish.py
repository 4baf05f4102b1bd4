"""Publishing: whole versions to a place outside the store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from airflow_dataflow.datasets.catalog.catalog import Replica
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.copy import copy_version_files
from airflow_dataflow.transfer.journal import Journal
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport

log = logging.getLogger(__name__)

_LONGEST_LOCATION = 250


def publish(
    store: Store,
    references: Sequence[str],
    target_url: str,
    *,
    storage_options: dict[str, Any] | None = None,
    options: TransferOptions | None = None,
    journal: Journal | None = None,
    control: Control | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy versions to ``<target_url>/<dataset>/<version>/`` and record them in the catalog as published.

    A reader of the target sees a version when its manifest is there, which is after every file was read back. A second
    attempt leaves alone what the first one copied.

    :param store: where the versions are.
    :param references: versions, e.g. ``["support/dialogs@latest"]``.
    :param target_url: folder or prefix, without credentials in it.
    :param storage_options: what fsspec's file system of the target takes, credentials included; never logged.
    :param options: how to transfer; a dry run returns the report of what would be done.
    :param journal: what earlier attempts have done; cleared in the end.
    :param control: limits, and a stop from outside.
    :param progress: told about every file and part.
    :raises InvalidInputError: when the target already has another content under the same version.
    :raises TransferError: when bytes arrived changed, or the connection broke, several times in a row.
    """
    target = Directory.from_url(without_credentials(target_url), storage_options)
    how = options or TransferOptions()
    total = TransferReport()
    for reference in references:
        manifest = store.manifest(reference)
        place = target.child(f"{manifest.dataset}/{manifest.version}")
        published = published_copy(manifest, place.url)
        source = store.directory(manifest, purpose="publish")
        report = copy_version_files(
            manifest, source, place, options=how, journal=journal, control=control, progress=progress
        )
        if not how.dry_run:
            store.catalog.put_replica(published)
            log.info("published %s to %s: %s", manifest.reference, place.url, report)
        total += report
    if journal is not None and not how.dry_run:
        journal.clear()
    return total


def without_credentials(url: str) -> str:
    """Return a URL that may be recorded.

    :raises InvalidInputError: when it carries credentials.
    """
    parts = urlsplit(url)
    if parts.password is not None or parts.query:
        raise InvalidInputError(
            f"the URL of {parts.scheme}://{parts.hostname}{parts.path} is recorded, so it must not carry credentials: "
            "keep them in a connection"
        )
    return url


def published_copy(manifest: Manifest, url: str) -> Replica:
    """Return the catalog's description of a version's copy outside the store.

    :param url: URL of the version's folder there.
    :raises InvalidInputError: when the URL is longer than the catalog can keep.
    """
    if len(url) > _LONGEST_LOCATION:
        raise InvalidInputError(f"{url} has {len(url)} characters; the catalog keeps {_LONGEST_LOCATION}")
    return Replica(dataset=manifest.dataset, version=manifest.version, location=url, tier=None, url=url)
