"""A table or query of a database to a version of a dataset, every night what has changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from airflow_dataflow.databases.dialects import Dialect, Snapshot, open_database
from airflow_dataflow.databases.source import Source
from airflow_dataflow.datasets.manifest import Manifest, Rows, SourceFile, fingerprint_of
from airflow_dataflow.errors import CorruptDataError, EmptySourceError, InvalidInputError
from airflow_dataflow.ingest.table_options import TableOptions
from airflow_dataflow.ingest.table_rows import TableRows, read_rows
from airflow_dataflow.ingest.table_window import Window, window_of
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.scratch import scratch_folder
from airflow_dataflow.storage.store import Store

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raised when the same rows give other files; everything is read again then."""


def ingest_table(
    store: Store,
    url: str | sa.URL,
    table: str | None,
    dataset: str,
    *,
    at: datetime,
    query: str | None = None,
    options: TableOptions | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Make a version of ``dataset`` that holds the rows of a table or query, as they are at one moment.

    Without a watermark all rows are read each night, and there is a new version when they differ from the newest one.
    With one, the files of earlier nights are carried over, and only rows above their highest watermark are read.

    A second attempt for the same moment ``at`` returns the version that the first one made, also when the database has
    changed since.

    :param store: where the version is made.
    :param url: SQLAlchemy URL of the database, e.g. ``postgresql://user:password@host/shop``; never logged.
    :param table: ``table`` or ``schema.table``; ``None`` with a query.
    :param dataset: name of the dataset.
    :param at: moment that the version belongs to; in a DAG the run's time.
    :param query: one SELECT statement in place of a table.
    :param options: see :class:`~airflow_dataflow.ingest.table_options.TableOptions`.
    :param progress: is told of rows.
    :returns: the new version, or the newest one when nothing has changed.
    :raises NotFoundError: when there is no such table or database.
    :raises EmptySourceError: when there are no rows at all.
    :raises InvalidInputError: for a value without an equal in Arrow, unless ``options.misfits`` quarantines such rows.
    :raises UnsupportedError: for a column type without an equal in Arrow; the message shows a cast.
    :raises TransientError: when the server is unreachable, busy, or breaks the connection.
    """
    options = options or TableOptions()
    source = Source.parse(table, query)
    database = open_database(url)
    night = _Night(store, database, source, dataset, options=options, at=at)
    if night.made is not None:
        return night.made
    with scratch_folder() as scratch:
        return night.run(scratch, progress)


class _Night:
    """One run of an ingest."""

    def __init__(
        self, store: Store, database: Dialect, source: Source, dataset: str, *, options: TableOptions, at: datetime
    ) -> None:
        self._store = store
        self._database = database
        self._source = source
        self._dataset = dataset
        self._options = options
        self._at = at
        what = {"table": source.label} if source.table else {"query": source.query}
        self._recipe = {"code": CODE_VERSION, "database": database.name, **what, **options.to_dict()}
        newest = next(iter(store.catalog.manifests(dataset)), None)
        if newest is not None and "database" not in newest.statistics:
            raise InvalidInputError(
                f"{newest.reference} was not made from a database: give the table a dataset of its own"
            )
        self._newest = newest if newest is not None and newest.recipe == self._recipe else None

    @property
    def made(self) -> Manifest | None:
        """The version that an earlier attempt has made for the same moment."""
        moment = self._at.astimezone(UTC).replace(microsecond=0)
        return self._newest if self._newest is not None and self._newest.created_at == moment else None

    def run(self, scratch: Path, progress: Progress) -> Manifest:
        """Read what has changed, and make a version of it."""
        label = self._source.label
        with self._database.snapshot(self._source, self._options.readers or self._database.readers) as snapshot:
            mark = self._mark(snapshot)
            if self._newest is not None and mark is not None and mark == self._known.get("mark"):
                return self._unchanged(self._newest)
            columns = {column.name: str(column.type) for column in snapshot.columns}
            # The files of one version have one schema, so a table with other columns is read from the start.
            before = self._known if self._newest is not None and self._newest.columns == columns else None
            window = window_of(snapshot, self._options, before)
            if window.rows == 0:
                if self._newest is not None and window.adds:
                    return self._unchanged(self._newest)
                raise _no_rows(label)
            number = self._known["nights"] + 1 if window.adds else 1
            rows = read_rows(
                snapshot,
                window,
                self._options,
                scratch,
                label=label,
                dialect=self._database.name,
                night=number,
                progress=progress,
            )
        progress("reading", rows.rows_in, rows.rows_in, "rows")
        return self._commit(rows, window, number, mark)

    @property
    def _known(self) -> Mapping[str, Any]:
        known: Mapping[str, Any] = self._newest.statistics["database"] if self._newest else {}
        return known

    def _mark(self, snapshot: Snapshot) -> str | None:
        """Return what differs after every change of rows or columns; with a watermark that tells enough."""
        mark = None if self._options.watermark else snapshot.unchanged_mark()
        columns = [[column.name, column.sql_type] for column in snapshot.columns]
        return mark and fingerprint_of({"rows": mark, "columns": columns})

    def _unchanged(self, newest: Manifest) -> Manifest:
        log.info(
            "%s: nothing new in %s, %s stays the newest version", self._dataset, self._source.label, newest.reference
        )
        return newest

    def _commit(self, rows: TableRows, window: Window, number: int, mark: str | None) -> Manifest:
        record = self._record(rows, window, number)
        _refuse_nothing(rows, self._source.label, adds=window.adds)
        kept = self._newest.sources if self._newest is not None and window.adds else ()
        if self._newest is not None and not window.adds and _content(self._newest.sources) == _content([record]):
            return self._unchanged(self._newest)
        fingerprint = fingerprint_of({"recipe": self._recipe, "content": _content([*kept, record])})
        fingerprint, existing = self._find(fingerprint)
        if existing is not None:
            return existing
        sources = [one.model_copy(update={"carried_from": self._newest and self._newest.version}) for one in kept]
        sources.append(record)
        reasons = rows.reasons + _reasons(self._newest if window.adds else None)
        totals = Rows(
            rows_in=sum(one.rows_in for one in sources),
            rows_out=sum(one.rows_out for one in sources),
            rows_quarantined=sum(one.rows_quarantined for one in sources),
            quarantined_by_reason=dict(sorted(reasons.items())),
        )
        known = {"nights": number, "watermark": window.high, "rows": totals.rows_in, "mark": mark}
        with self._store.draft(self._dataset, at=self._at, fingerprint=fingerprint) as draft:
            self._carry(draft, kept)
            for entry in rows.entries:
                draft.carry(entry, rows.output.directory)
            return draft.commit(
                totals,
                columns={item.name: str(item.type) for item in rows.schema},
                recipe=self._recipe,
                sources=sources,
                statistics={"database": known},
            )

    def _record(self, rows: TableRows, window: Window, number: int) -> SourceFile:
        quarantined = rows.reasons.total()
        name = self._source.label
        return SourceFile(
            path=name if number == 1 else f"{name} (night {number}, up to {window.high})",
            digest=_digest(rows),
            bytes=sum(entry.bytes for entry in rows.entries),
            rows_in=rows.rows_in,
            rows_out=rows.rows_in - quarantined,
            rows_quarantined=quarantined,
            outputs=tuple(entry.path for entry in rows.entries),
        )

    def _find(self, fingerprint: str) -> tuple[str, Manifest | None]:
        existing = self._store.find(self._dataset, fingerprint)
        if existing is None or self._newest is None or existing.version >= self._newest.version:
            return fingerprint, existing
        # The rows are again as they were some nights ago: that is a new version, or the newest would show others.
        again = fingerprint_of({"again": fingerprint, "after": self._newest.version})
        return again, self._store.find(self._dataset, again)

    def _carry(self, draft: VersionDraft, kept: Sequence[SourceFile]) -> None:
        if self._newest is None or not kept:
            return
        folder = self._store.directory(self._newest)
        entries = {entry.path: entry for entry in self._newest.files}
        for one in kept:
            for path in one.outputs:
                draft.carry(entries[path], folder)


def _content(sources: Sequence[SourceFile]) -> list[str]:
    return [one.digest for one in sources]


def _reasons(manifest: Manifest | None) -> Any:
    from collections import Counter

    return Counter(manifest.quarantined_by_reason if manifest else {})


def _digest(rows: TableRows) -> str:
    """Return the digest of all that was read; files of equal rows are equal, byte for byte."""
    digest = Digest()
    digest.update(rows.schema.serialize())
    for entry in rows.entries:
        digest.update(f"{entry.digest} {entry.rows}\n".encode())
    return str(digest)


def _refuse_nothing(rows: TableRows, label: str, *, adds: bool) -> None:
    if rows.rows_in > rows.reasons.total() or adds:
        return
    if rows.rows_in:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rows.reasons.items()))
        raise CorruptDataError(f"all {rows.rows_in:,} rows of {label} are bad ({reasons})")
    raise _no_rows(label)


def _no_rows(label: str) -> EmptySourceError:
    return EmptySourceError(f"{label} has no rows to read")
