"""Transfers that nobody goes on with: the unfinished uploads that their journals name are removed, and the journals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_dataflow.datasets.catalog.transfers import TransferRows
from airflow_dataflow.errors import InvalidInputError, TransferError, TransientError, is_terminal
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.file_journal import FileJournal, journals_in
from airflow_dataflow.transfer.journal import FileProgress, Journal
from airflow_dataflow.transfer.journal_log import LogJournal

log = logging.getLogger(__name__)


def sweep_transfers(
    store: Store, open_elsewhere: Callable[[str], Directory], *, grace: timedelta, now: datetime | None = None
) -> list[str]:
    """Forget the transfers in a catalog that nobody goes on with, and remove what they had begun to upload.

    What cannot be removed for a reason that does not pass, such as a connection that is gone, is forgotten with a
    warning; the place has to have rules of its own for that.

    :param store: whose catalog has the journals.
    :param open_elsewhere: opens the URL of a target that lies on no tier of the store.
    :param grace: how long a transfer may be left before it counts as abandoned.
    :param now: the present; the clock when ``None``.
    :returns: paths of the unfinished files that were removed.
    """
    limit = ((now or datetime.now(UTC)) - grace).astimezone(UTC).replace(tzinfo=None)
    rows = TransferRows(store.catalog.database).untouched_since(limit)
    found = ((CatalogJournal(store.catalog, row.id, row.target), row.target) for row in rows)
    return _sweep(found, lambda url: _on_tier(store, url) or open_elsewhere(url))


def _on_tier(store: Store, url: str) -> Directory | None:
    for tier in store.tiers:
        if url == tier.directory.url or url.startswith(tier.directory.url.rstrip("/") + "/"):
            return tier.directory
    return None


def sweep_journals(
    folder: Path, open_target: Callable[[str], Directory], *, grace: timedelta, now: datetime | None = None
) -> list[str]:
    """Do as :func:`sweep_transfers` for journals in files.

    :param folder: where they lie.
    :param open_target: opens the URL of a target.
    :param grace: how long a transfer may be left before it counts as abandoned.
    :param now: the present; the clock when ``None``.
    :returns: paths of the unfinished files that were removed.
    """
    limit = (now or datetime.now(UTC)) - grace
    found = (
        (FileJournal(folder, transfer, target), target)
        for transfer, target, changed_at in journals_in(folder)
        if changed_at < limit
    )
    return _sweep(found, open_target)


def _sweep(found: Iterable[tuple[LogJournal, str]], open_target: Callable[[str], Directory]) -> list[str]:
    removed: list[str] = []
    for journal, target in found:
        try:
            with journal:
                removed += discard(journal, target, open_target)
        except TransientError as error:
            # Somebody goes on with it after all, or the place does not answer; the next sweep looks again.
            log.info("the transfer to %s is left for the next sweep: %s", target, error)
    return removed


def discard(journal: Journal, target: str, open_target: Callable[[str], Directory]) -> list[str]:
    """Remove what a transfer had begun to upload, and forget how far it was.

    :param journal: its journal, open.
    :param target: URL of its target.
    :param open_target: opens that.
    :returns: paths of the unfinished files that were removed.
    :raises TransferError: when the target does not answer.
    """
    begun = {path: progress for path, progress in journal.load().items() if _is_begun(progress)}
    removed = list(_discard_all(target, open_target, begun)) if begun else []
    journal.clear()
    return removed


def _discard_all(
    target: str, open_target: Callable[[str], Directory], begun: Mapping[str, FileProgress]
) -> Iterator[str]:
    try:
        place = open_target(target)
        for path, progress in begun.items():
            with errors_explained("an unfinished upload", place.backend, path):
                if _discard(place, path, progress):
                    log.info("removed what was uploaded of %s", path)
                    yield path
    except Exception as error:
        if not is_terminal(error):
            raise TransferError(f"unfinished uploads at {target} cannot be removed now: {error}") from error
        log.warning("unfinished uploads at %s cannot be removed, look after them there: %s", target, error)


def _discard(place: Directory, path: str, progress: FileProgress) -> bool:
    if path != place.root and not path.startswith(place.root.rstrip("/") + "/"):
        raise InvalidInputError(f"{path} is not below {place.url}")
    upload = place.backend.resume_upload(path, progress.handle or "")
    if upload is not None:
        upload.discard()
    return upload is not None


def _is_begun(progress: FileProgress) -> bool:
    return progress.handle is not None and progress.target_stamp is None
