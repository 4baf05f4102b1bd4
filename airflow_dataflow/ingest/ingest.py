"""Raw files of a landing folder to a version of a dataset, file by file, every night only the new ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.datasets.manifest import Manifest, SourceFile, fingerprint_of
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.ingest.columns import settle
from airflow_dataflow.ingest.files import (
    content_of,
    read_files,
    refuse_nothing,
    rows_of,
    write_files,
)
from airflow_dataflow.ingest.landing import Landing, Source
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.plan import Plan, plan_night
from airflow_dataflow.ingest.readers import build_readers
from airflow_dataflow.ingest.stamps import Stamps
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.scratch import scratch_folder
from airflow_dataflow.storage.store import Store

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raised when the same files give other rows or other bytes; what older code has read is read again then."""

_NUMBERED = re.compile(r"(?:data|quarantine)/(\d{6})-")


def ingest(
    store: Store,
    source: Source,
    dataset: str,
    *,
    at: datetime,
    options: IngestOptions | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Make a version of ``dataset`` that holds the rows of all files of the landing folder, old and new.

    Content that the newest version knows is taken over unread. A file whose content changed replaces its old rows; a
    file that is gone keeps its rows, unless ``options.missing`` says ``drop``. The newest version's types bind.

    :param store: where the version is made.
    :param source: URL or path of a folder, a file or a glob, or several. Files are known by their path below it.
    :param dataset: name of the dataset.
    :param at: moment that the version belongs to; in a DAG the run's time.
    :param options: see :class:`~airflow_dataflow.ingest.options.IngestOptions`.
    :param progress: is told of bytes read, then of rows written.
    :returns: the new version, or the newest one when there is nothing new.
    :raises NotFoundError: when there is nothing at ``source``.
    :raises EmptySourceError: when there is no file to read, or no good row.
    :raises CorruptDataError: when files were refused and no row is left.
    :raises TransientError: when a file changes while it is read.
    """
    options = options or IngestOptions()
    readers = build_readers(options.readers)
    recipe = {"code": CODE_VERSION, "readers": options.to_dict()["readers"]}
    previous = _newest(store, dataset)
    same_recipe = previous is not None and previous.recipe == recipe
    before = {one: content_of(one.path, one.digest, readers) for one in (previous.sources if previous else ())}
    landing = Landing(source, set(readers))
    stamps = Stamps(store, dataset)
    if previous is None or options.missing == "drop":
        landing.refuse_empty()
    with scratch_folder() as scratch:
        arrivals = read_files(
            landing,
            readers,
            scratch,
            digest_of=stamps.digest,
            known={content for content in before.values() if content[0]} if same_recipe else (),
            progress=progress,
        )
        plan = plan_night(before, arrivals, options.missing)
        if previous is not None and not plan.changes:
            log.info("%s: nothing new at %s, %s stays the newest version", dataset, landing.source, previous.reference)
            stamps.keep(arrivals)
            return previous
        # Types bind as long as rows of earlier nights stay, or are replaced by rows read in the same way.
        columns = _columns(store, previous) if previous and (same_recipe or plan.kept) else {}
        fingerprint, existing = _find(store, dataset, _fingerprint(options, recipe, columns, plan), previous)
        if existing is not None:
            stamps.keep(arrivals)
            return existing
        with store.draft(dataset, at=at, fingerprint=fingerprint) as draft:
            kept, reasons = _carry(draft, plan, store, previous)
            written = write_files(
                plan.new, draft, options, columns=columns, first_number=_next_number(previous), progress=progress
            )
            sources = [*kept, *written.sources]
            reasons |= written.reasons
            rows = rows_of(sources, reasons)
            refuse_nothing(sources, rows, landing.source)
            manifest = draft.commit(
                rows,
                columns={item.name: str(item.type) for item in written.schema},
                recipe=recipe,
                sources=sources,
                statistics={"quarantined_by_file": reasons, "landing": {"files": len(arrivals)}},
            )
    stamps.keep(arrivals)
    return manifest


def _newest(store: Store, dataset: str) -> Manifest | None:
    newest = store.catalog.newest(dataset)
    if newest is not None and "landing" not in newest.statistics:
        raise InvalidInputError(f"{newest.reference} was not made by ingest: give the raw files a dataset of their own")
    return newest


def _find(store: Store, dataset: str, fingerprint: str, previous: Manifest | None) -> tuple[str, Manifest | None]:
    """Return the fingerprint to use, and the version that an earlier attempt has made with it."""
    existing = store.find(dataset, fingerprint)
    if existing is None or previous is None or existing.version >= previous.version:
        return fingerprint, existing
    # Files are as they were some nights ago: that is a new version, or the newest would show other files.
    again = fingerprint_of({"again": fingerprint, "after": previous.version})
    return again, store.find(dataset, again)


def _fingerprint(
    options: IngestOptions, recipe: Mapping[str, Any], columns: Mapping[str, pa.DataType], plan: Plan
) -> str:
    files = [[path, one.digest] for one, path in plan.kept]
    files += [[arrival.file.name, arrival.digest] for arrival in plan.new]
    types = [[name, str(kind)] for name, kind in columns.items()]
    return fingerprint_of({"recipe": recipe, "options": options.to_dict(), "columns": types, "files": files})


def _columns(store: Store, previous: Manifest) -> dict[str, pa.DataType]:
    """Return the types of the newest version; its last data file has all columns."""
    entries = previous.files_under("data")
    if not entries:
        return {}
    with store.directory(previous).open(entries[-1].path) as file, pq.ParquetFile(file) as parquet:
        return {item.name: settle(item.type) for item in parquet.schema_arrow}


def _next_number(previous: Manifest | None) -> int:
    found = (_NUMBERED.match(entry.path) for entry in (previous.files if previous else ()))
    return 1 + max((int(match[1]) for match in found if match), default=0)


def _carry(
    draft: VersionDraft, plan: Plan, store: Store, previous: Manifest | None
) -> tuple[list[SourceFile], dict[str, Mapping[str, int]]]:
    """Take over the outputs of earlier nights; return their records, and their quarantined rows by file and reason."""
    if previous is None or not plan.kept:
        return [], {}
    folder = store.directory(previous)
    entries = {entry.path: entry for entry in previous.files}
    reasons_before = previous.statistics["quarantined_by_file"]
    kept, reasons = [], {}
    for one, path in plan.kept:
        for output in one.outputs:
            draft.carry(entries[output], folder)
        kept.append(one.model_copy(update={"path": path, "carried_from": previous.version}))
        if one.path in reasons_before and one.rows_quarantined:
            reasons[path] = reasons_before[one.path]
    return kept, reasons
