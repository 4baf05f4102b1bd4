"""Judge predictions: how often a model is right, and what it takes for what."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from airflow_dataflow.datasets.manifest import Manifest, Rows, fingerprint_of
from airflow_dataflow.engines.tables import to_arrow
from airflow_dataflow.errors import EmptySourceError, InvalidInputError
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.problem import FeatureVersion, Problem
from airflow_dataflow.training.report import render_report
from airflow_dataflow.training.submission import JobSpec, RunJob
from airflow_dataflow.training.work_folder import bring_in, work_folder

log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raise it when the same predictions give another report than before."""

_APPLICATION = Path(__file__).parent / "jobs" / "predict.py"
_SPLIT = "test"
_PREDICTIONS = f"predictions/{_SPLIT}.parquet"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What predictions are worth."""

    metrics: dict[str, float]
    """Single numbers by name: ``accuracy``, ``macro_f1``, … for a classification; ``rmse``, ``mae``, ``r2`` for a
    regression."""
    report: dict[str, Any]
    """For a classification ``classes``, ``micro``, ``macro`` and ``weighted``, each with ``precision``, ``recall``,
    ``f1`` and ``support``; for a regression the metrics and ``support``."""
    confusion: pl.DataFrame | None
    """Rows by ``label`` and ``prediction``, without zeros; ``None`` for a regression."""


def evaluate_predictions(predictions: pl.DataFrame, classes: Sequence[str] | None) -> Evaluation:
    """Compare predictions with the truth.

    Precision, recall and F1 are 0 where they are 0/0. The macro average is over the classes that occur among labels or
    predictions, as in scikit-learn; the report lists all.

    :param predictions: columns ``label`` and ``prediction``, at least one row.
    :param classes: all classes that the model knows; ``None`` when it predicts numbers.
    :raises InvalidInputError: when predicted numbers are not finite.
    """
    if classes is None:
        return _evaluate_numbers(predictions["label"].to_numpy(), predictions["prediction"].to_numpy())
    confusion = predictions.group_by("label", "prediction").len("rows").sort("label", "prediction")
    support = _counts(confusion, "label")
    predicted = _counts(confusion, "prediction")
    right = _counts(confusion.filter(pl.col("label") == pl.col("prediction")), "label")
    names = sorted({*classes, *support})
    scores = {name: _score(right.get(name, 0), predicted.get(name, 0), support.get(name, 0)) for name in names}
    occurring = [name for name in names if name in support or name in predicted]
    total, hits = sum(support.values()), sum(right.values())
    report = {
        "classes": scores,
        "micro": _score(hits, total, total),
        "macro": _average([scores[name] for name in occurring], [1] * len(occurring), total),
        "weighted": _average([scores[name] for name in support], list(support.values()), total),
    }
    averages = {
        f"{kind}_{measure}": report[kind][measure]
        for kind in ("micro", "macro", "weighted")
        for measure in ("precision", "recall", "f1")
    }
    return Evaluation(metrics={"accuracy": hits / total, **averages}, report=report, confusion=confusion)


def evaluate_dataset(
    store: Store, model: str, target: str, *, at: datetime, features: str | None = None, run_job: RunJob | None = None
) -> Manifest:
    """Make a version that holds the evaluation of a model on test rows.

    The version holds ``report.json``, ``report.html``, and for a classification ``confusion_matrix.parquet`` with the
    columns ``label``, ``prediction`` and ``rows``.

    :param store: the store.
    :param model: reference of a version of kind ``model``.
    :param target: name of the dataset that gets a new version.
    :param at: moment that the version belongs to.
    :param features: reference of another version of features whose test rows are judged; ``None`` for the test rows of
        the features that the model was trained on, whose predictions the model has with it.
    :param run_job: runs the Spark application that predicts the rows of ``features``.
    :returns: the version; the one that exists if the same work was done before.
    :raises InvalidInputError: when ``model`` is no model, or ``features`` has other columns than it needs.
    :raises EmptySourceError: when there are no test rows.
    """
    trained = store.manifest(model)
    if "problem" not in trained.statistics:
        raise InvalidInputError(f"{trained.reference} is no model; evaluate a version that the training step has made")
    parents = [trained.reference] if features is None else [trained.reference, store.manifest(features).reference]
    fingerprint = fingerprint_of([*parents, CODE_VERSION])
    found = store.find(target, fingerprint)
    if found is not None:
        log.info("%s exists already", found.reference)
        return found
    problem = Problem.from_dict(trained.statistics["problem"])
    with store.draft(target, at=at, fingerprint=fingerprint, parents=parents) as draft:
        if features is None:
            predictions = _own_predictions(store, trained)
        else:
            if run_job is None:
                raise InvalidInputError("to evaluate a model on other features, pass run_job, e.g. submit_job")
            predictions = _predict(store, trained, FeatureVersion(store, features), draft, run_job)
        return _commit(draft, trained, evaluate_predictions(predictions, problem.classes), predictions.height)


def _own_predictions(store: Store, trained: Manifest) -> pl.DataFrame:
    if not any(entry.path == _PREDICTIONS for entry in trained.files):
        raise EmptySourceError(
            f"{trained.reference} was trained on features without test rows; raise 'test' in 'split' of the recipe, "
            "or evaluate it on another version of features"
        )
    return pl.read_parquet(io.BytesIO(store.directory(trained).read(_PREDICTIONS)))


def _predict(
    store: Store, trained: Manifest, features: FeatureVersion, draft: VersionDraft, run_job: RunJob
) -> pl.DataFrame:
    problem = Problem.from_dict(trained.statistics["problem"])
    features.check_suits(problem, trained.reference)
    with work_folder(draft) as folder:
        features.bring_in(_SPLIT, folder / "inputs" / _SPLIT)
        bring_in(store.directory(trained), {folder / "inputs" / e.path: e for e in trained.files_under("model")})
        name = f"predict {draft.dataset}@{draft.version}"
        spec = JobSpec(application=_APPLICATION, name=name, folder=folder, rows=features.rows[_SPLIT])
        spec.write({**(trained.recipe or {}), "problem": problem.to_dict(), "splits": [_SPLIT]})
        run_job(spec)
        spec.result()
        return pl.read_parquet(folder / "output" / _PREDICTIONS)


def _commit(draft: VersionDraft, trained: Manifest, evaluation: Evaluation, rows: int) -> Manifest:
    with draft.create("report.json") as writer:
        writer.write((json.dumps(evaluation.report, indent=1, allow_nan=False) + "\n").encode())
    page = render_report(
        evaluation=f"{draft.dataset}@{draft.version}",
        model=trained.reference,
        recipe=trained.recipe or {},
        rows=rows,
        metrics=evaluation.metrics,
        report=evaluation.report,
        confusion=evaluation.confusion,
    )
    with draft.create("report.html") as writer:
        writer.write(page.encode())
    statistics: dict[str, Any] = {"metrics": evaluation.metrics, "model": trained.reference}
    if evaluation.confusion is not None:
        statistics["classification_report"] = evaluation.report
        with draft.create("confusion_matrix.parquet") as writer:
            pq.write_table(to_arrow(evaluation.confusion), writer)
            writer.rows = evaluation.confusion.height
    return draft.commit(Rows(rows_in=rows, rows_out=rows), recipe=trained.recipe, statistics=statistics)


def _counts(confusion: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(confusion.group_by(column).agg(pl.col("rows").sum()).sort(column).iter_rows())


def _score(right: int, predicted: int, support: int) -> dict[str, Any]:
    precision = right / predicted if predicted else 0.0
    recall = right / support if support else 0.0
    f1 = 2 * right / (predicted + support) if predicted + support else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}


def _average(scores: Sequence[dict[str, Any]], weights: Sequence[int], support: int) -> dict[str, Any]:
    measures = ("precision", "recall", "f1")
    means = {name: float(np.average([score[name] for score in scores], weights=weights)) for name in measures}
    return {**means, "support": support}


def _evaluate_numbers(label: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any]) -> Evaluation:
    error = label - prediction
    if not np.isfinite(error).all():
        raise InvalidInputError(
            "the model predicts numbers without bounds (NaN or infinite); train it with more 'regularisation'"
        )
    squared = float(np.sum(error**2))
    spread = float(np.sum((label - label.mean()) ** 2))
    metrics = {
        "rmse": float(np.sqrt(squared / len(label))),
        "mae": float(np.abs(error).mean()),
        # Without any spread the mean is a perfect guess, and so is nothing but the mean.
        "r2": 1 - squared / spread if spread else float(squared == 0),
    }
    return Evaluation(metrics=metrics, report={**metrics, "support": len(label)}, confusion=None)
