"""Mean and standard deviation of columns, from summaries that merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_dataflow.features.extractor import State

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def summarise(values: Matrix) -> State:
    """Return count, mean and sum of squared deviations of each column; NaN counts as missing."""
    present = ~np.isnan(values)
    count = present.sum(axis=0)
    mean = np.where(present, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    deviation = np.where(present, values - mean, 0.0)
    return {"count": count, "mean": mean, "squares": (deviation**2).sum(axis=0)}


def merge(summaries: Sequence[State]) -> State:
    """Merge summaries with the pairwise update of Chan, Golub and LeVeque (1979)."""
    merged = summaries[0]
    for other in summaries[1:]:
        count = merged["count"] + other["count"]
        share = other["count"] / np.maximum(count, 1)
        delta = other["mean"] - merged["mean"]
        merged = {
            "count": count,
            "mean": merged["mean"] + delta * share,
            "squares": merged["squares"] + other["squares"] + delta**2 * merged["count"] * share,
        }
    return merged


def fit(summary: State) -> State:
    """Return ``center`` (mean) and ``scale`` (population standard deviation) of each column."""
    spread = np.sqrt(summary["squares"] / np.maximum(summary["count"], 1))
    return state_of(summary["mean"], spread)


def state_of(center: Matrix, spread: Matrix) -> State:
    """Return ``center`` and ``scale``, which is 1 where the spread is no more than rounding: a constant becomes 0."""
    rounding = 10 * np.finfo(np.float64).eps * np.maximum(np.abs(center), 1.0)
    return {"center": center, "scale": np.where(spread > rounding, spread, 1.0)}


def scaled(values: Matrix, state: State) -> Matrix:
    """Return ``(values - center) / scale``; NaN stays NaN."""
    result: Matrix = (values - state["center"]) / state["scale"]
    return result
