"""The quality gate: whether an evaluation is good enough to publish its model."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import GateFailedError, InvalidInputError, did_you_mean
from airflow_dataflow.storage.store import Store

LOWER_IS_BETTER = frozenset({"rmse", "mae"})
"""Metrics that measure errors; all others grow with quality."""

_ROUNDING = 1e-9  # 0.90 - 0.88 is a little more than 0.02


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What a metric has to be; at least one of the bounds is needed."""

    metric: str
    """Name of a metric of the evaluation, e.g. ``macro_f1``, ``accuracy`` or ``rmse``."""
    min_value: float | None = None
    """Least value that passes, inclusive; ``None`` for no such bound."""
    max_value: float | None = None
    """Largest value that passes, inclusive; ``None`` for no such bound."""
    max_drop: float | None = None
    """Most, in units of the metric, by which it may be worse than that of the last published version, inclusive; 0
    lets nothing worse pass; ``None`` for no comparison. The first version has nothing to be compared with."""

    def __post_init__(self) -> None:
        if self.min_value is None and self.max_value is None and self.max_drop is None:
            raise InvalidInputError(
                f"the gate on {self.metric!r} lets everything pass; give it 'min_value', 'max_value' or 'max_drop'"
            )
        if self.max_drop is not None and self.max_drop < 0:
            raise InvalidInputError(
                f"max_drop of the gate on {self.metric!r} is {self.max_drop:g}; it must not be below 0"
            )


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """Why an evaluation has passed."""

    evaluation: str
    """Fixed reference of the evaluation."""
    metric: str
    """Name of the metric."""
    value: float
    """Its value."""
    published_value: float | None
    """Its value in the last published version; ``None`` when there is none."""
    sentence: str
    """All that in words."""


def check_gate(store: Store, evaluation: str, gate: GateOptions) -> GateResult:
    """Stop what is not good enough.

    :param store: the store.
    :param evaluation: reference of a version that :func:`~airflow_dataflow.training.evaluate.evaluate_dataset` made.
    :param gate: what the metric has to be.
    :returns: why it has passed.
    :raises GateFailedError: when it has not.
    :raises InvalidInputError: when the version has no such metric.
    """
    judged = store.manifest(evaluation)
    metrics = judged.statistics.get("metrics", {})
    if gate.metric not in metrics:
        raise InvalidInputError(f"{judged.reference} has no metric {gate.metric!r}{did_you_mean(gate.metric, metrics)}")
    value: float = metrics[gate.metric]
    published = store.catalog.published(judged.dataset)
    before = None if published is None else published.statistics.get("metrics", {}).get(gate.metric)
    checks = _bounds(gate, value)
    if gate.max_drop is not None:
        checks.append(_comparison(gate, value, published, before, gate.max_drop))
    sentence = f"{gate.metric} of {judged.reference} is {value:.4f}"
    failures = [words for passed, words in checks if not passed]
    if failures:
        raise GateFailedError(
            f"{sentence}; {'; '.join(failures)}. Nothing is published. See the evaluation's report for the classes "
            "that do badly, and the quarantines for what last night's data lost; or change the gate"
        )
    return GateResult(
        evaluation=judged.reference,
        metric=gate.metric,
        value=value,
        published_value=before,
        sentence="; ".join([sentence, *(words for _, words in checks)]),
    )


def _bounds(gate: GateOptions, value: float) -> list[tuple[bool, str]]:
    """Return for each bound whether the value keeps it, and that in words."""
    checks = []
    if gate.min_value is not None:
        passed = value >= gate.min_value
        checks.append((passed, f"{'not ' if passed else ''}under min_value {gate.min_value:g}"))
    if gate.max_value is not None:
        passed = value <= gate.max_value
        checks.append((passed, f"{'not ' if passed else ''}over max_value {gate.max_value:g}"))
    return checks


def _comparison(
    gate: GateOptions, value: float, published: Manifest | None, before: float | None, max_drop: float
) -> tuple[bool, str]:
    if published is None or before is None:
        return True, "there is no published version to compare with"
    worse = value - before if gate.metric in LOWER_IS_BETTER else before - value
    passed = worse <= max_drop + _ROUNDING
    relation = "within" if passed else f"worse by {worse:.4f}, more than"
    return passed, f"{published.reference} was published with {before:.4f}: {relation} max_drop {max_drop:g}"
