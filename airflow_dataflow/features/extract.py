"""Make a version of features from a version of cleaned rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from airflow_dataflow.datasets.manifest import FileEntry, Manifest, Rows, SourceFile, fingerprint_of
from airflow_dataflow.engines.engine import Engine, TableFile
from airflow_dataflow.engines.local import LocalEngine
from airflow_dataflow.engines.tables import empty_batch, to_arrow
from airflow_dataflow.errors import EmptySourceError, InvalidInputError, NotFoundError
from airflow_dataflow.features.pipeline import (
    STATE_FOLDER,
    FittedPipeline,
    Pipeline,
    build_extractors,
    load_extractors,
)
from airflow_dataflow.features.rows import FOLDERS, MISSING_LABEL, QUARANTINE, RowPlan, plan_rows
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.recipe import Recipe
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raise it when a recipe gives other rows, sides or columns than before; extractors have schemes of their own."""

# The words of a text take several times the memory of the text; with more, the kernel clears pages all the time.
_BATCH_BYTES = 8 << 20


def extract_dataset(
    store: Store,
    source: str,
    target: str,
    recipe: Recipe,
    *,
    at: datetime,
    refit: bool = False,
    progress: Progress = no_progress,
) -> Manifest:
    """Make the features that a recipe names, divided into training, validation and test rows.

    What the newest version of ``target`` has fitted with the same recipe is used again, and its files are taken over
    where their source is unchanged: the features of a row stay equal from night to night.

    :param source: reference of the cleaned version.
    :param target: name of the dataset that gets a new version.
    :param recipe: its ``features``, ``split``, ``id``, ``text`` and ``label`` are used.
    :param at: moment that the version belongs to.
    :param refit: whether to fit anew on all training rows, and to make all files anew.
    :returns: the version; the one that exists if the same work was done before.
    :raises MissingColumnError: when the source lacks a column that the recipe names.
    :raises InvalidInputError: when the recipe names no extractor, or columns that an extractor cannot read.
    :raises EmptySourceError: when there is no row to fit on, or none that has a label.
    """
    pipeline = build_extractors(recipe)
    parent = store.manifest(source)
    if parent.dataset == target:
        raise InvalidInputError(f"source and target are both {target!r}; extract into another dataset")
    work = fingerprint_of([parent.dataset, recipe.to_dict(), CODE_VERSION, pipeline.schemes])
    fingerprint = fingerprint_of([work, parent.version, refit])
    found = store.find(target, fingerprint)
    if found is not None:
        log.info("%s exists already", found.reference)
        return found
    engine = LocalEngine(batch_bytes=_BATCH_BYTES, progress=progress)
    tables = _tables(store, parent)
    schema = engine.schema(tables)
    plan = plan_rows(recipe, pipeline, schema, parent.reference)
    previous = None if refit else _previous(store, target, fingerprint, work)
    with store.draft(target, at=at, fingerprint=fingerprint, parents=[parent.reference]) as draft:
        if previous is None:
            fitted = _fit(engine, tables, plan, pipeline)
            fitted.save(draft)
        else:
            fitted = load_extractors(store.directory(previous))
        columns = _columns(plan, fitted, schema)
        carried = _carry(store, parent, previous, draft, columns)
        fresh = [table for table in tables if table.path not in carried]
        dealer = partial(replace(plan, stems=tuple(table.stem for table in fresh)).deal, fitted=fitted)
        engine.scan(fresh, what="features").write(dealer, draft.create)
        written = {entry.path: entry for entry in draft.entries}
        sources = [carried.get(entry.path) or _source_file(entry, written) for entry in _data_files(parent)]
        return draft.commit(
            _rows(sources, parent, recipe),
            columns=columns,
            recipe=recipe.to_dict(),
            sources=sources,
            statistics=_statistics(recipe, pipeline, previous, draft) | {"work": work},
        )


def _data_files(parent: Manifest) -> list[FileEntry]:
    return [entry for entry in parent.files_under("data") if entry.path.endswith(".parquet")]


def _tables(store: Store, parent: Manifest) -> list[TableFile]:
    entries = _data_files(parent)
    if not parent.rows_out or not entries:
        raise EmptySourceError(f"{parent.reference} has no rows; see its quarantine for the reasons")
    directory = store.directory(parent)
    return [TableFile(directory=directory, path=entry.path, stem=_stem(entry)) for entry in entries]


def _stem(entry: FileEntry) -> str:
    return entry.path.removeprefix("data/").removesuffix(".parquet")


def _previous(store: Store, target: str, fingerprint: str, work: str) -> Manifest | None:
    """Return the newest other version of ``target``, if the same recipe and code made it from the same dataset."""
    newest = store.catalog.newest(target, besides=fingerprint)
    if newest is None or newest.statistics.get("work") != work:
        return None
    try:
        store.directory(newest)
    except NotFoundError:
        log.warning("%s lies on no tier any more: fitting anew", newest.reference)
        return None
    return newest


def _fit(engine: Engine, tables: Sequence[TableFile], plan: RowPlan, pipeline: Pipeline) -> FittedPipeline:
    """Fit on the training rows of all files; one file's summaries are in memory at a time."""
    merged = []
    for table in tables:
        rows = engine.scan([table], plan.needed(pipeline), what="fitting").map_batches(plan.training)
        summaries = rows.map_batches(pipeline.summarise).collect()
        if len(summaries):
            merged.append(pipeline.merge(summaries))
    if not merged:
        raise EmptySourceError(
            "no row is on the training side, so there is nothing to fit on; raise 'train' in 'split' of the recipe, "
            "or give it more rows with a label"
        )
    return pipeline.fit(pipeline.merge(pl.concat(merged)))


def _columns(plan: RowPlan, fitted: FittedPipeline, schema: pa.Schema) -> dict[str, str]:
    nothing = plan.deal(empty_batch(schema), fitted)[FOLDERS["train"]]
    return {field.name: str(field.type) for field in to_arrow(nothing).schema}


def _carry(
    store: Store, parent: Manifest, previous: Manifest | None, draft: VersionDraft, columns: dict[str, str]
) -> dict[str, SourceFile]:
    """Take over the state of the previous version, and what it made of files that are still the same.

    :returns: the files that need not be read, by path.
    """
    if previous is None:
        return {}
    directory = store.directory(previous)
    for entry in previous.files_under(STATE_FOLDER):
        draft.carry(entry, directory)
    if previous.columns != columns:
        return {}
    entries = {entry.path: entry for entry in previous.files}
    known = {(source.path, source.digest): source for source in previous.sources}
    carried = {}
    for file in _data_files(parent):
        source = known.get((file.path, file.digest))
        if source is not None:
            for path in source.outputs:
                draft.carry(entries[path], directory)
            carried[file.path] = source.model_copy(update={"carried_from": previous.version})
    return carried


def _source_file(entry: FileEntry, written: Mapping[str, FileEntry]) -> SourceFile:
    paths = [f"{folder}/{_stem(entry)}.parquet" for folder in (*FOLDERS.values(), QUARANTINE)]
    made = [written[path] for path in paths if path in written]
    rejected = sum(output.rows or 0 for output in made if output.path.startswith(f"{QUARANTINE}/"))
    rows = sum(output.rows or 0 for output in made)
    return SourceFile(
        path=entry.path,
        digest=entry.digest,
        bytes=entry.bytes,
        rows_in=rows if entry.rows is None else entry.rows,
        rows_out=rows - rejected,
        rows_quarantined=rejected,
        outputs=tuple(output.path for output in made),
    )


def _rows(sources: Sequence[SourceFile], parent: Manifest, recipe: Recipe) -> Rows:
    kept = sum(source.rows_out for source in sources)
    rejected = sum(source.rows_quarantined for source in sources)
    if not kept:
        raise EmptySourceError(
            f"none of the {rejected:,} rows of {parent.reference} has a value in the label column {recipe.label!r}; "
            "name another column in 'label' of the recipe"
        )
    return Rows(
        rows_in=sum(source.rows_in for source in sources),
        rows_out=kept,
        rows_quarantined=rejected,
        quarantined_by_reason={MISSING_LABEL: rejected} if rejected else {},
    )


def _statistics(recipe: Recipe, pipeline: Pipeline, previous: Manifest | None, draft: VersionDraft) -> dict[str, Any]:
    before = previous.statistics["features"] if previous else {}
    return {
        "features": {
            "columns": list(pipeline.makes),
            "id": recipe.id,
            "text": recipe.text,
            "label": recipe.label,
            "fitted_in": before.get("fitted_in", draft.version),
        },
        "rows_by_split": {
            side: sum(entry.rows or 0 for entry in draft.entries if entry.path.startswith(f"{folder}/"))
            for side, folder in FOLDERS.items()
        },
    }
