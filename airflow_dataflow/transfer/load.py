"""Loading: a version of a dataset into a table of a database, all of it or nothing, and never twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from airflow_dataflow.databases.dialects import Load, open_database
from airflow_dataflow.databases.source import Source
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import InvalidInputError, MissingColumnError, did_you_mean
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.report import TransferReport

log = logging.getLogger(__name__)

Mode = Literal["replace", "append", "upsert"]
_BATCH_ROWS = 32_768
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How rows come into a table."""

    mode: Mode = "replace"
    """``replace`` makes the table's rows those of the version; ``append`` adds them, each version once; ``upsert``
    adds rows with a new key, and lets the others replace the rows that have their key."""
    key: tuple[str, ...] = ()
    """Columns that tell rows apart: needed for ``upsert``, where the table has to have a unique index on them. A table
    that is made here gets them as its primary key."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InvalidInputError(f"mode is {self.mode!r}{did_you_mean(self.mode, get_args(Mode))}")
        if self.mode == "upsert" and not self.key:
            raise InvalidInputError("mode 'upsert' needs a key: the columns by which a row replaces another")


def load_version(
    store: Store,
    reference: str,
    url: str | sa.URL,
    table: str,
    *,
    options: LoadOptions | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Load the files under ``data/`` of a version into a table, in one transaction.

    The table is made when it is absent. The table ``dataflow_loads`` beside it records, in the same transaction, which
    versions were loaded, so that a second attempt of ``append`` adds nothing.

    :param store: where the version is.
    :param reference: the version, e.g. ``support/clean@latest``.
    :param url: SQLAlchemy URL of the database; never logged.
    :param table: ``table`` or ``schema.table``.
    :param options: see :class:`LoadOptions`.
    :param progress: is told of rows.
    :raises MissingColumnError: when the table lacks a column of the version, or needs one that the version lacks.
    :raises InvalidInputError: when a value does not fit its column, or a row breaks a constraint.
    :raises TransientError: when the server is unreachable or busy, or breaks the connection.
    """
    start = time.monotonic()
    options = options or LoadOptions()
    manifest = store.manifest(reference)
    schema = _schema(store, manifest)
    target = Source.parse(table)
    database = open_database(url)
    size = sum(entry.bytes for entry in manifest.files_under("data"))
    rows = 0
    with database.load(target) as load:
        claimed = _prepare(load, manifest, schema, options, target.label)
        if claimed:
            key = options.key if options.mode == "upsert" else ()
            load.begin(schema, key)
            rows = _send(load, _batches(store, manifest, schema), key, manifest.rows_out, progress)
    if not claimed:
        log.info("%s was loaded into %s before: nothing to do", manifest.reference, target.label)
    log.info("%s: %s rows of %s (%s)", target.label, f"{rows:,}", manifest.reference, options.mode)
    return TransferReport(
        bytes_sent=size if claimed else 0,
        bytes_skipped=0 if claimed else size,
        files=len(manifest.files_under("data")),
        seconds=round(time.monotonic() - start, 3),
    )


def _schema(store: Store, manifest: Manifest) -> pa.Schema:
    entries = manifest.files_under("data")
    if not entries:
        raise InvalidInputError(f"{manifest.reference} has no files under data/, so there are no rows to load")
    # The last file has all columns: types only widen from one night to the next.
    with store.directory(manifest).open(entries[-1].path) as file, pq.ParquetFile(file) as parquet:
        return parquet.schema_arrow


def _prepare(load: Load, manifest: Manifest, schema: pa.Schema, options: LoadOptions, label: str) -> bool:
    """Make sure that the table can take the rows; return whether they still have to come."""
    for name in options.key:
        if name not in schema.names:
            raise MissingColumnError(f"{manifest.reference} has no key {name!r}{did_you_mean(name, schema.names)}")
    columns = load.columns()
    if columns is None:
        load.create(schema, options.key)
    else:
        _check_columns(columns, schema.names, label)
    # A table that was dropped since has none of the rows that were loaded into it.
    forget = options.mode == "replace" or columns is None
    if not load.claim(manifest.reference, forget_others=forget) and options.mode == "append":
        return False
    if options.mode == "replace" and columns is not None:
        load.clear()
    return True


def _check_columns(columns: dict[str, bool], names: Sequence[str], label: str) -> None:
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise MissingColumnError(
            f"table {label} has no column {', '.join(map(repr, unknown))}{did_you_mean(unknown[0], columns)}"
        )
    missing = [name for name, is_needed in columns.items() if is_needed and name not in names]
    if missing:
        raise MissingColumnError(
            f"the version has no column {', '.join(map(repr, missing))}, which table {label} needs "
            f"(NOT NULL without a default){did_you_mean(missing[0], names)}"
        )


def _send(load: Load, batches: Iterator[pa.RecordBatch], key: Sequence[str], total: int, progress: Progress) -> int:
    done = 0
    for batch in batches:
        _check_key(batch, key)
        load.write(batch)
        done += batch.num_rows
        progress("loading", done, total, "rows")
    return load.finish()


def _batches(store: Store, manifest: Manifest, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    folder = store.directory(manifest)
    for entry in manifest.files_under("data"):
        with folder.open(entry.path) as file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=_batch_rows(parquet), use_threads=False):
                yield _with_all_columns(batch, schema)


def _check_key(batch: pa.RecordBatch, key: Sequence[str]) -> None:
    """Refuse rows without a key: they replace nothing, so that each load would add them once more."""
    for name in key:
        if batch.column(name).null_count:
            raise InvalidInputError(f"the key {name!r} is missing in some rows, which can replace no other: drop them")


def _batch_rows(parquet: pq.ParquetFile) -> int:
    groups = [parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups)]
    row_bytes = sum(group.total_byte_size for group in groups) / max(parquet.metadata.num_rows, 1)
    return max(min(_BATCH_ROWS, int(_BATCH_BYTES / max(row_bytes, 1))), 1)


def _with_all_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns of the schema: files of earlier nights may lack some, or hold narrower types."""
    columns = []
    for item in schema:
        if item.name in batch.schema.names:
            column = batch.column(item.name)
            columns.append(column if column.type == item.type else column.cast(item.type))
        else:
            columns.append(pa.nulls(batch.num_rows, item.type))
    return pa.record_batch(columns, schema=schema)
