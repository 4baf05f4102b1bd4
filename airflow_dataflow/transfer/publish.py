"""Publishing: whole versions to a place outside the store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from airflow_dataflow.datasets.catalog.catalog import Replica
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.copy import copy_version_files
from airflow_dataflow.transfer.report import TransferReport

log = logging.getLogger(__name__)


def publish(
    store: Store,
    references: Sequence[str],
    target_url: str,
    *,
    storage_options: dict[str, Any] | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy versions to ``<target_url>/<dataset>/<version>/`` and record them in the catalog as published.

    A reader of the target sees a version when its manifest is there, which is after every file was read back. A second
    attempt leaves alone what the first one copied.

    :param store: where the versions are.
    :param references: versions, e.g. ``["support/dialogs@latest"]``.
    :param target_url: folder or prefix, without credentials in it.
    :param storage_options: what fsspec's file system of the target takes, credentials included; never logged.
    :param progress: told about every file.
    :raises InvalidInputError: when the target already has another content under the same version.
    :raises TransferError: when bytes arrived changed, or the connection broke, several times in a row.
    """
    if urlsplit(target_url).password is not None or urlsplit(target_url).query:
        raise InvalidInputError("a target URL is recorded, so it must not carry credentials; use a connection for them")
    target = Directory.from_url(target_url, storage_options)
    total = TransferReport()
    for reference in references:
        manifest = store.manifest(reference)
        place = target.child(f"{manifest.dataset}/{manifest.version}")
        report = copy_version_files(manifest, store.directory(manifest), place, progress=progress)
        store.catalog.put_replica(
            Replica(dataset=manifest.dataset, version=manifest.version, location=place.url, tier=None, url=place.url)
        )
        log.info("published %s to %s: %s", manifest.reference, place.url, report)
        total += report
    return total
