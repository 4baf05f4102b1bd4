"""Clean plain files into a plain folder, without a store: what ``dataflow clean INPUT OUTPUT`` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import polars as pl

from airflow_dataflow.cleaning.clean import clean_dataset, inputs_of
from airflow_dataflow.cleaning.process import Input, Process, Unreadable
from airflow_dataflow.cleaning.steps import QUARANTINE_COLUMNS, names_beside
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, fingerprint_of
from airflow_dataflow.engines.engine import TableFile
from airflow_dataflow.engines.local import LocalEngine
from airflow_dataflow.engines.tables import TableWriters, empty_batch
from airflow_dataflow.errors import CorruptDataError
from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.ingest.landing import Landing, LandingFile
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.readers import build_readers
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.recipe import Recipe
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.folders import FolderStore, made_beside, put_in_place

log = logging.getLogger(__name__)

PARQUET = ".parquet"

_RAW, _CLEAN = "raw", "clean"


def clean_files(
    source: str,
    target: str | Path,
    recipe: Recipe,
    *,
    options: IngestOptions | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Clean files into a folder, which appears whole: it is made beside, and renamed last.

    Whole Parquet files are cleaned where they lie. Of any other format, or when one is damaged, files are read by
    :mod:`airflow_dataflow.ingest` first; what is bad there joins the quarantine. The version in the folder has the
    time of the newest file, so that the same files give the same bytes.

    :param source: URL or path of a folder, a file or a glob; or the folder of a version.
    :param target: a new or empty folder, or one that the same call has made before.
    :param recipe: its ``rules``, ``id``, ``text`` and ``label`` are used.
    :param options: how files of other formats are read.
    :returns: the manifest, which the folder holds as ``_manifest.json``.
    :raises InvalidInputError: when something else is in the target, or the recipe is wrong.
    :raises NotFoundError: when there is nothing at ``source``.
    :raises MissingColumnError: when the files lack a column that the recipe names.
    :raises EmptySourceError: when there are no rows, or none is left.
    """
    target = Path(target)
    with made_beside(target) as folder:
        if Path(source, MANIFEST_NAME).is_file():
            store = FolderStore(folder / _CLEAN, [Path(source)])
            parent = store.manifest(store.references[0])
            name = f"{parent.dataset}/{_CLEAN}"
            made = clean_dataset(store, parent.reference, name, recipe, at=parent.created_at, progress=progress)
        else:
            made = _Files(source, recipe, options or IngestOptions(), progress).clean(folder)
        put_in_place(folder / _CLEAN, target)
        return made


class _Files:
    """Raw files, known by name and digest."""

    def __init__(self, source: str, recipe: Recipe, options: IngestOptions, progress: Progress) -> None:
        self._source = source
        self._options = options
        self._progress = progress
        self._engine = LocalEngine(progress=progress)
        self._process = Process(recipe, self._engine)
        self._landing = Landing(source, set(build_readers(options.readers)))
        self._landing.refuse_empty()
        self._inputs = [self._input(file) for file in self._landing.files]

    def clean(self, folder: Path) -> Manifest:
        """Make the version in a folder that is not the target yet."""
        if all(item.table.path.endswith(PARQUET) for item in self._inputs):
            try:
                with self._draft(folder) as draft:
                    return self._process.clean(self._inputs, draft, where=self._source)
            except CorruptDataError as error:
                log.warning("a file is damaged (%s): reading all of them row by row", error)
        raw = FolderStore(folder / _RAW, [])
        read = ingest(raw, self._source, _RAW, at=self._at, options=self._options, progress=self._progress)
        inputs = inputs_of(raw, read)
        with self._draft(folder) as draft:
            lost = self._quarantine(raw.directory(read), read, [item.table for item in inputs], draft)
            return self._process.clean(inputs, draft, where=self._source, lost=lost)

    def _input(self, file: LandingFile) -> Input:
        directory = Directory(self._landing.fs_of(file), file.location.removesuffix(file.name))
        digest, size = directory.digest(file.name)
        table = TableFile(directory=directory, path=file.name, stem=file.name.removesuffix(PARQUET))
        return Input(table=table, digest=digest, bytes=size)

    @property
    def _at(self) -> datetime:
        changed: datetime = max(self._landing.fs_of(file).modified(file.location) for file in self._landing.files)
        return changed if changed.tzinfo else changed.replace(tzinfo=UTC)

    def _draft(self, folder: Path) -> AbstractContextManager[VersionDraft]:
        fingerprint = fingerprint_of(
            {
                "step": "clean",
                "files": [[item.table.path, item.digest] for item in self._inputs],
                "options": self._options.to_dict(),
                "work": self._process.fingerprint,
            }
        )
        return FolderStore(folder / _CLEAN, []).draft(_CLEAN, at=self._at, fingerprint=fingerprint)

    def _quarantine(
        self, directory: Directory, read: Manifest, tables: Sequence[TableFile], draft: VersionDraft
    ) -> Unreadable:
        """Take over what could not be read: bad rows in the form of all others, refused files as they are."""
        columns = empty_batch(self._engine.schema(tables))
        columns = columns.rename(names_beside(QUARANTINE_COLUMNS, columns.columns))
        entries = {entry.path: entry for entry in read.files}
        sources = []
        for source in read.sources:
            outputs = []
            for path in source.outputs:
                if path.startswith("quarantine/files/"):
                    draft.carry(entries[path], directory)
                    outputs.append(path)
                elif path.startswith("quarantine/"):
                    rows = pl.read_parquet(directory.read(path)).select("row_id", "rule", "reason", value="raw")
                    with TableWriters(PurePosixPath(path).stem, draft.create) as writers:
                        said = rows.with_columns(pl.lit(None, pl.String).alias("duplicate_of"))
                        writers.write("quarantine", pl.concat([columns, said], how="diagonal"))
                    outputs.append(path)
            if outputs or source.reason:
                bad = source.rows_quarantined
                changes = {"rows_in": bad, "rows_out": 0, "outputs": tuple(outputs)}
                sources.append(source.model_copy(update=changes))
        return Unreadable(sources=sources, reasons=read.quarantined_by_reason)
