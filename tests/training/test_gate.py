"""The quality gate."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_dataflow.datasets.catalog.catalog import Replica
from airflow_dataflow.datasets.manifest import Rows, fingerprint_of
from airflow_dataflow.errors import GateFailedError, InvalidInputError
from airflow_dataflow.training.gate import GateOptions, check_gate
from tests.training.versions import AT

DATASET = "support/evaluation"


def _evaluation(store, metrics, night=0):
    with store.draft(DATASET, at=AT + timedelta(days=night), fingerprint=fingerprint_of([night])) as draft:
        return draft.commit(Rows(), statistics={"metrics": metrics})


def _publish(store, manifest):
    url = f"s3://public/{manifest.dataset}/{manifest.version}"
    store.catalog.put_replica(
        Replica(dataset=manifest.dataset, version=manifest.version, location=url, tier=None, url=url)
    )


@pytest.mark.parametrize(
    ("bounds", "value", "passes"),
    [
        ({"min_value": 0.8}, 0.8, True),
        ({"min_value": 0.8}, 0.7999, False),
        ({"min_value": 0}, 0.0, True),
        ({"max_value": 2.5}, 2.5, True),
        ({"max_value": 2.5}, 2.6, False),
        ({"min_value": 1, "max_value": 2}, 3, False),
        ({"max_drop": 0.0}, 0.1, True),
    ],
)
def test_bounds_are_inclusive(store, bounds, value, passes):
    evaluation = _evaluation(store, {"macro_f1": value})
    gate = GateOptions(metric="macro_f1", **bounds)
    if passes:
        assert check_gate(store, DATASET, gate).evaluation == evaluation.reference
    else:
        with pytest.raises(GateFailedError, match=f"macro_f1 of {evaluation.reference} is {value:.4f}; "):
            check_gate(store, DATASET, gate)


@pytest.mark.parametrize(
    ("metric", "before", "now", "max_drop", "passes"),
    [
        ("accuracy", 0.90, 0.88, 0.02, True),
        ("accuracy", 0.90, 0.87, 0.02, False),
        ("accuracy", 0.90, 0.95, 0, True),
        ("rmse", 2.0, 2.5, 0.5, True),
        ("rmse", 2.0, 2.6, 0.5, False),
        ("mae", 2.0, 1.0, 0, True),
        ("r2", 0.5, 0.4, 0, False),
    ],
)
def test_a_version_may_be_worse_than_the_published_one_by_the_tolerance(store, metric, before, now, max_drop, passes):
    published = _evaluation(store, {metric: before})
    _publish(store, published)
    _evaluation(store, {metric: before * 2 if metric == "accuracy" else 0}, night=1)  # never published
    _evaluation(store, {metric: now}, night=2)
    gate = GateOptions(metric=metric, max_drop=max_drop)
    if passes:
        result = check_gate(store, DATASET, gate)
        assert (result.value, result.published_value) == (now, before)
        assert f"{published.reference} was published with {before:.4f}" in result.sentence
    else:
        with pytest.raises(GateFailedError, match=f"{published.reference} .*worse by .*max_drop {max_drop:g}"):
            check_gate(store, DATASET, gate)


def test_the_first_version_and_the_first_with_a_metric_have_nothing_to_be_compared_with(store):
    gate = GateOptions(metric="accuracy", max_drop=0)
    _publish(store, _evaluation(store, {"rmse": 1.0}))
    _evaluation(store, {"accuracy": 0.1}, night=1)
    result = check_gate(store, DATASET, gate)
    assert result.published_value is None
    assert "no published version to compare with" in result.sentence


def test_all_failures_are_told_and_what_to_do(store):
    _publish(store, _evaluation(store, {"accuracy": 0.9}))
    _evaluation(store, {"accuracy": 0.5}, night=1)
    with pytest.raises(GateFailedError) as raised:
        check_gate(store, DATASET, GateOptions(metric="accuracy", min_value=0.6, max_drop=0.1))
    assert "under min_value 0.6" in str(raised.value)
    assert "worse by 0.4000" in str(raised.value)
    assert "Nothing is published. See the evaluation's report" in str(raised.value)


def test_an_unknown_metric_is_an_error_with_a_hint(store):
    _evaluation(store, {"macro_f1": 1.0, "accuracy": 1.0})
    with pytest.raises(InvalidInputError, match="no metric 'macrof1'; did you mean 'macro_f1'"):
        check_gate(store, DATASET, GateOptions(metric="macrof1", min_value=0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "lets everything pass; give it 'min_value'"), ({"max_drop": -0.1}, "must not be below 0")],
)
def test_a_gate_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        GateOptions(metric="accuracy", **options)
