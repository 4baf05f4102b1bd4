"""Make a version of a model from a version of features."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl

from airflow_dataflow.datasets.manifest import Manifest, Rows, fingerprint_of
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.evaluate import evaluate_predictions
from airflow_dataflow.training.problem import SPLITS, FeatureVersion, Problem
from airflow_dataflow.training.saved_model import normalise_model, normalise_table
from airflow_dataflow.training.submission import JobSpec, RunJob
from airflow_dataflow.training.trainers import TRAINERS
from airflow_dataflow.training.work_folder import take_over, work_folder

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raise it when the same features and parameters give other files than before; trainers have schemes of their own."""

ROWS_PER_PARTITION = 250_000
"""Up to this many training rows one partition holds them all, and equal rows give equal models, bit by bit. See
``docs/decisions/0002-reproducible-training.md``."""

_APPLICATION = Path(__file__).parent / "jobs" / "train.py"
_PREDICTED = ("validation", "test")


def train_dataset(
    store: Store,
    source: str,
    target: str,
    trainer: str,
    parameters: Mapping[str, Any],
    *,
    at: datetime,
    run_job: RunJob,
    progress: Progress = no_progress,
) -> Manifest:
    """Fit a model and predict the validation and test rows with it.

    The version holds the model under ``model/`` and ``predictions/<split>.parquet`` for each split that has rows.
    Everything that can be wrong with the data is found before Spark starts.

    :param store: the store.
    :param source: reference of a version of features.
    :param target: name of the dataset that gets a new version, of kind ``model``.
    :param trainer: name of a trainer, e.g. ``logistic_regression``.
    :param parameters: its parameters; those that are absent have their defaults.
    :param at: moment that the version belongs to.
    :param run_job: runs the Spark application, e.g. :func:`~airflow_dataflow.training.submission.submit_job`.
    :returns: the version; the one that exists if the same work was done before.
    :raises InvalidInputError: for an unknown trainer or parameter, or a label that the trainer cannot learn.
    :raises EmptySourceError: when there are too few rows to learn from.
    :raises JobFailedError: when the application has died.
    """
    unit = TRAINERS.build(trainer, parameters)
    known = dataclasses.asdict(cast(Any, unit))
    parent = store.manifest(source)
    fingerprint = fingerprint_of([parent.reference, trainer, unit.scheme, known, CODE_VERSION])
    found = store.find(target, fingerprint)
    if found is not None:
        log.info("%s exists already", found.reference)
        return found
    features = FeatureVersion(store, parent.reference)
    problem = features.problem(unit.task)
    splits = [split for split in _PREDICTED if features.rows[split]]
    for split in set(_PREDICTED) - set(splits):
        log.warning("the %s split of %s has no rows; no metrics come from it", split, parent.reference)
    with store.draft(target, at=at, fingerprint=fingerprint, kind="model", parents=[parent.reference]) as draft:
        progress(f"training {trainer}", 0, features.rows["train"], "rows")
        with work_folder(draft) as folder:
            job = {"trainer": trainer, "parameters": known, "problem": problem.to_dict(), "splits": splits}
            result = _run(features, folder, job, name=f"{trainer} {draft.dataset}@{draft.version}", run_job=run_job)
            normalise_model(folder / "output" / "model", at)
            for table in (folder / "output" / "predictions").glob("*.parquet"):
                normalise_table(table)
            metrics = _validation_metrics(folder, problem)
            take_over(draft, folder / "output")
        progress(f"training {trainer}", features.rows["train"], features.rows["train"], "rows")
        return _commit(draft, features, problem, metrics, result, recipe={"trainer": trainer, "parameters": known})


def _run(features: FeatureVersion, folder: Path, job: dict[str, Any], *, name: str, run_job: RunJob) -> dict[str, Any]:
    for split in SPLITS:
        features.bring_in(split, folder / "inputs" / split)
    spec = JobSpec(application=_APPLICATION, name=name, folder=folder, rows=sum(features.rows.values()))
    spec.write(job | {"partitions": math.ceil(features.rows["train"] / ROWS_PER_PARTITION)})
    run_job(spec)
    return spec.result()


def _validation_metrics(folder: Path, problem: Problem) -> dict[str, float]:
    path = folder / "output" / "predictions" / "validation.parquet"
    return evaluate_predictions(pl.read_parquet(path), problem.classes).metrics if path.exists() else {}


def _commit(
    draft: VersionDraft,
    features: FeatureVersion,
    problem: Problem,
    metrics: dict[str, float],
    result: dict[str, Any],
    *,
    recipe: dict[str, Any],
) -> Manifest:
    rows = sum(features.rows.values())
    return draft.commit(
        Rows(rows_in=rows, rows_out=rows),
        recipe=recipe,
        statistics={
            "problem": problem.to_dict(),
            "rows_by_split": features.rows,
            "metrics": metrics,
            **result,
        },
    )
