"""Versions of features for tests of training: messages whose label follows from words and a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.datasets.manifest import Manifest, Rows, fingerprint_of
from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.problem import FeatureVersion, Task

AT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
FEATURES = "support/features"
SIZES = {"train": 60, "validation": 15, "test": 15}
CLASSES = ("card_arrival", "exchange_rate", "top up")
VECTOR = pa.struct(
    [
        ("type", pa.int8()),
        ("size", pa.int32()),
        ("indices", pa.list_(pa.int32())),
        ("values", pa.list_(pa.float64())),
    ]
)
_WIDTH = 60


def table(rows: int, seed: int, labels: Sequence[str] = CLASSES) -> pa.Table:
    """Return rows whose class shows in the first places of the vector, with noise in the others."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(np.arange(rows) % len(labels))
    noise = rng.integers(len(labels), _WIDTH, size=rows)
    vectors = [
        {"type": 0, "size": _WIDTH, "indices": [int(number), int(place)], "values": [1.0, 0.5]}
        for number, place in zip(numbers, noise, strict=True)
    ]
    return pa.table(
        {
            "row_id": [f"{seed}-{row:04}" for row in range(rows)],
            "label": [labels[number] for number in numbers],
            "body_tfidf": pa.array(vectors, VECTOR),
            "body_chars": rng.normal(100, 20, rows),
        }
    )


def number_table(rows: int, seed: int) -> pa.Table:
    """Return rows whose label is a sum of their features."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    label = 3 * x - 2 * y + 1
    names = [f"{seed}-{row:04}" for row in range(rows)]
    columns = {"row_id": names, "label": [str(value) for value in label], "label_value": label, "x": x, "y": y}
    return pa.table(columns)


def tables(sizes: Mapping[str, int] = SIZES, labels: Sequence[str] = CLASSES) -> dict[str, list[pa.Table]]:
    """Return the tables of each split."""
    return {split: [table(rows, seed, labels)] for seed, (split, rows) in enumerate(sizes.items())}


def make_features(
    store: Store,
    splits: Mapping[str, Sequence[pa.Table]],
    *,
    dataset: str = FEATURES,
    columns: Sequence[str] = ("body_tfidf", "body_chars"),
    label: str | None = "intent",
    at: datetime = AT,
    salt: str = "",
) -> Manifest:
    """Make a version of features as the features step does, with one file per table."""
    rows = sum(len(part) for parts in splits.values() for part in parts)
    with store.draft(dataset, at=at, fingerprint=fingerprint_of([dataset, rows, salt])) as draft:
        for split, parts in splits.items():
            for number, part in enumerate(parts):
                # Spark would read the name as a pattern.
                with draft.create(f"data/{split}/day [{number}].parquet") as writer:
                    pq.write_table(part if label else part.drop_columns("label"), writer)
                    writer.rows = len(part)
        statistics: dict[str, Any] = {"features": {"columns": list(columns), "label": label, "id": None, "text": None}}
        return draft.commit(Rows(rows_in=rows, rows_out=rows), statistics=statistics)


def make_model(
    store: Store, features: Manifest, predictions: pa.Table | None, task: Task = "classification"
) -> Manifest:
    """Make a version of a model as far as evaluating it goes: what it has learnt, and what it predicts."""
    problem = FeatureVersion(store, features.reference).problem(task)
    fingerprint = fingerprint_of([features.reference, "model"])
    with store.draft("support/model", at=AT, fingerprint=fingerprint, kind="model") as draft:
        if predictions is not None:
            with draft.create("predictions/test.parquet") as writer:
                pq.write_table(predictions, writer)
        recipe = {"trainer": "logistic_regression", "parameters": {}}
        return draft.commit(Rows(), recipe=recipe, statistics={"problem": problem.to_dict()})


def contents(store: Store, manifest: Manifest) -> dict[str, bytes]:
    """Return the bytes of every file of a version, its manifest included."""
    directory = store.directory(manifest)
    return {path: directory.read(path) for path in directory.files()}
