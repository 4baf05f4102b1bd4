"""Clean a version of a dataset: apply the rules of a recipe to its new files, and carry over the rest."""

from __future__ import annotations

import logging
from datetime import datetime

from airflow_dataflow.cleaning.process import Input, Previous, Process
from airflow_dataflow.datasets.manifest import Manifest, fingerprint_of
from airflow_dataflow.engines.engine import TableFile
from airflow_dataflow.engines.local import LocalEngine
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.recipe import Recipe
from airflow_dataflow.storage.store import Store

log = logging.getLogger(__name__)


def clean_dataset(
    store: Store,
    source: str,
    target: str,
    recipe: Recipe,
    *,
    at: datetime,
    refit: bool = False,
    progress: Progress = no_progress,
) -> Manifest:
    """Make a version of the rows that the rules of a recipe keep, with all others in its quarantine.

    Files that the newest version of ``target`` has cleaned by the same rules are carried over unread; new rows are
    compared with the signatures of theirs, and judged by what the rules have learned from them.

    :param source: reference of the version to clean.
    :param target: name of the dataset that gets a new version.
    :param recipe: its ``rules``, ``id``, ``text`` and ``label`` are used.
    :param at: moment that the version belongs to.
    :param refit: whether to learn anew from all rows, and to clean all files anew.
    :returns: the version; the one that exists if the same work was done before.
    :raises MissingColumnError: when the source lacks a column that the recipe names.
    :raises InvalidInputError: when the recipe has an unknown rule or parameter, or one that does not suit a column.
    :raises CorruptDataError: when a file of the source cannot be read.
    :raises EmptySourceError: when the source has no rows, or none is left.
    """
    parent = store.manifest(source)
    if parent.dataset == target:
        raise InvalidInputError(f"source and target are both {target!r}; clean into another dataset")
    process = Process(recipe, LocalEngine(progress=progress))
    work = process.fingerprint
    fingerprint = fingerprint_of({"step": "clean", "parent": parent.reference, "work": work, "refit": refit})
    found = store.find(target, fingerprint)
    if found is not None:
        log.info("%s exists already", found.reference)
        return found
    inputs = inputs_of(store, parent)
    previous = None if refit else _previous(store, parent, target, fingerprint, work)
    with store.draft(target, at=at, fingerprint=fingerprint, parents=[parent.reference]) as draft:
        return process.clean(inputs, draft, where=parent.reference, columns=tuple(parent.columns), previous=previous)


def inputs_of(store: Store, parent: Manifest) -> list[Input]:
    """Return the table files of a version."""
    directory = store.directory(parent)
    return [
        Input(
            table=TableFile(
                directory=directory,
                path=entry.path,
                stem=entry.path.removeprefix("data/").removesuffix(".parquet"),
            ),
            digest=entry.digest,
            bytes=entry.bytes,
        )
        for entry in parent.files_under("data")
        if entry.path.endswith(".parquet")
    ]


def _previous(store: Store, parent: Manifest, target: str, fingerprint: str, work: str) -> Previous | None:
    """Return the newest other version of ``target``, if the same rules have made it from the same dataset."""
    newest = store.catalog.newest(target, besides=fingerprint)
    if newest is None or newest.statistics.get("work") != work:
        return None
    if [reference.partition("@")[0] for reference in newest.parents] != [parent.dataset]:
        return None
    try:
        return Previous(manifest=newest, directory=store.directory(newest))
    except NotFoundError:
        log.warning("%s lies on no tier any more: cleaning all files anew", newest.reference)
        return None
