"""Commands that make versions: clean, features, train, evaluate; of plain folders, or in the store."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import open_store
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.progress import Progress

if TYPE_CHECKING:
    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.storage.store import Store

    Work = Callable[[Store, Sequence[str], str, datetime], Manifest]


def clean(arguments: Namespace, progress: Progress) -> Answer:
    """Clean files of any format, a folder that holds a version, or a version of the store."""
    from airflow_dataflow.cleaning.clean import clean_dataset
    from airflow_dataflow.cleaning.files import clean_files
    from airflow_dataflow.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    if not Reference.looks_like(arguments.input):
        return _counts(clean_files(arguments.input, arguments.output, recipe, progress=progress), arguments.output)

    def work(store: Store, sources: Sequence[str], target: str, at: datetime) -> Manifest:
        return clean_dataset(store, sources[0], target, recipe, at=at, refit=arguments.refit, progress=progress)

    return _counts(*_make(arguments, work, [arguments.input], arguments.output, "clean"))


def extract_features(arguments: Namespace, progress: Progress) -> Answer:
    """Extract the features that a recipe names."""
    from airflow_dataflow.features.extract import extract_dataset
    from airflow_dataflow.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)

    def work(store: Store, sources: Sequence[str], target: str, at: datetime) -> Manifest:
        return extract_dataset(store, sources[0], target, recipe, at=at, refit=arguments.refit, progress=progress)

    return _counts(*_make(arguments, work, [arguments.input], arguments.output, "features"))


def train(arguments: Namespace, progress: Progress) -> Answer:
    """Fit a model inside Spark."""
    from airflow_dataflow.training.submission import submit_job
    from airflow_dataflow.training.train import train_dataset

    parameters = dict(_parameter(text) for text in arguments.param)

    def work(store: Store, sources: Sequence[str], target: str, at: datetime) -> Manifest:
        return train_dataset(
            store, sources[0], target, arguments.trainer, parameters, at=at, run_job=submit_job, progress=progress
        )

    return _counts(*_make(arguments, work, [arguments.input], arguments.output, "model"))


def evaluate(arguments: Namespace, _progress: Progress) -> Answer:
    """Judge a model on test rows, and print the report."""
    from airflow_dataflow.training.evaluate import evaluate_dataset
    from airflow_dataflow.training.submission import submit_job

    report: dict[str, Any] = {}

    def work(store: Store, sources: Sequence[str], target: str, at: datetime) -> Manifest:
        model, data = (store.manifest(source) for source in sources)
        # The model has the predictions of the test rows that belong to its training rows: no Spark is needed.
        other = None if data.reference in model.parents else data.reference
        made = evaluate_dataset(store, model.reference, target, at=at, features=other, run_job=submit_job)
        report.update(json.loads(store.directory(made).read("report.json")))
        return made

    inputs = [arguments.model, arguments.input]
    if arguments.output:
        _make(arguments, work, inputs, arguments.output, "evaluation")
    elif Reference.looks_like(arguments.model):
        _make(arguments, work, inputs, f"{Reference.parse(arguments.model).dataset}/evaluation", "evaluation")
    else:
        with TemporaryDirectory(prefix="dataflow-evaluation-") as folder:
            _make(arguments, work, inputs, f"{folder}/evaluation", "evaluation")
    return Answer(report, _report_rows(report))


def _report_rows(report: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    if "classes" not in report:
        return None
    scores = {**report["classes"], **{f"({name} average)": report[name] for name in ("micro", "macro", "weighted")}}
    return [{"class": name, **score} for name, score in scores.items()]


def _parameter(text: str) -> tuple[str, Any]:
    """Return name and value of ``name=value``; the value is JSON, or text where it is none."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidInputError(f"--param {text!r} has not the form name=value, e.g. regularisation=0.1")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _make(arguments: Namespace, work: Work, inputs: Sequence[str], output: str, name: str) -> tuple[Manifest, str]:
    """Make a version from versions in folders, or from versions in the store.

    :param work: makes it, given a store, references, the dataset to add a version to, and the version's time.
    :param inputs: folders or references.
    :param output: a folder, or a dataset of the store.
    :param name: what the dataset is called when it is a folder.
    :returns: the version, and where it is.
    """
    references = [Reference.looks_like(item) for item in inputs]
    if all(references):
        store = open_store(arguments)
        made = work(store, inputs, output, _after_the_newest(store, output))
        return made, made.reference
    if any(references):
        raise InvalidInputError(f"{' and '.join(inputs)}: name two references, or two folders")

    from airflow_dataflow.storage.folders import new_version_in

    with new_version_in(Path(output), [Path(item) for item in inputs]) as store:
        sources = store.references[: len(inputs)]
        at = max(store.manifest(source).created_at for source in sources)
        return work(store, sources, name, at), output


def _after_the_newest(store: Store, dataset: str) -> datetime:
    """Return the time, or where the clock was set back a moment at which the new version is still the latest one."""
    newest, now = store.catalog.newest(dataset), datetime.now(UTC)
    return now if newest is None else max(now, newest.created_at + timedelta(seconds=1))


def _counts(manifest: Manifest, where: str) -> Answer:
    """Return what a command says of a version that it has made."""
    metrics = manifest.statistics.get("metrics", {})
    counts = {
        "rows_in": manifest.rows_in,
        "rows_out": manifest.rows_out,
        "rows_quarantined": manifest.rows_quarantined,
    }
    shown = [
        *((name.replace("_", " "), count) for name, count in counts.items()),
        *((f"  {reason}", count) for reason, count in manifest.quarantined_by_reason.items()),
        *metrics.items(),
    ]
    reasons = {"quarantined_by_reason": manifest.quarantined_by_reason}
    data = {"output": where, "reference": manifest.reference, **counts, **reasons, "metrics": metrics}
    return Answer(data, [{"name": name, "value": value} for name, value in shown], f"made {where}")
