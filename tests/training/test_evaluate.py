"""Evaluation: numbers as scikit-learn gives them, and the version that reports them."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report, mean_absolute_error, r2_score, root_mean_squared_error

from airflow_dataflow.errors import EmptySourceError, InvalidInputError
from airflow_dataflow.training.evaluate import evaluate_dataset, evaluate_predictions
from tests.training.versions import AT, CLASSES, make_features, make_model, number_table, tables

NAMES = st.sampled_from(["a", "b", "c", "d"])
NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


def _frame(pairs):
    return pl.DataFrame(pairs, schema=["label", "prediction"], orient="row")


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1))
def test_scores_of_classes_and_averages_are_those_of_scikit_learn(pairs):
    ours = evaluate_predictions(_frame(pairs), ["a", "b", "c", "d"])
    truth, predicted = zip(*pairs, strict=True)
    theirs = classification_report(truth, predicted, output_dict=True, zero_division=0)
    renamed = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}
    averages = {"macro": "macro avg", "weighted": "weighted avg"}
    for name, scores in [*ours.report["classes"].items(), *((kind, ours.report[kind]) for kind in averages)]:
        if name in averages or name in theirs:
            for measure, their_name in renamed.items():
                assert math.isclose(scores[measure], theirs[averages.get(name, name)][their_name], abs_tol=1e-12)
        else:
            assert scores == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert math.isclose(ours.metrics["accuracy"], theirs["accuracy"])
    assert ours.report["micro"] == {
        "precision": ours.metrics["accuracy"],
        "recall": ours.metrics["accuracy"],
        "f1": ours.metrics["accuracy"],
        "support": len(pairs),
    }


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1))
def test_the_confusion_matrix_counts_every_row_once(pairs):
    confusion = evaluate_predictions(_frame(pairs), ["a"]).confusion
    assert confusion["rows"].sum() == len(pairs)
    assert {(label, prediction): rows for label, prediction, rows in confusion.iter_rows()} == {
        pair: pairs.count(pair) for pair in pairs
    }


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2))
def test_errors_of_numbers_are_those_of_scikit_learn(pairs):
    metrics = evaluate_predictions(_frame(pairs), None).metrics
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(truth, predicted), rel=1e-9, abs=1e-9)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(truth, predicted), rel=1e-9, abs=1e-9)
    if np.ptp(truth) > 1e-2:
        assert metrics["r2"] == pytest.approx(r2_score(truth, predicted), rel=1e-6, abs=1e-6)


def test_a_worked_example():
    pairs = [("cat", "cat")] * 3 + [("cat", "dog")] + [("dog", "dog")] * 2 + [("owl", "cat")] * 2
    evaluation = evaluate_predictions(_frame(pairs), ["cat", "dog", "emu"])
    assert evaluation.report["classes"] == {
        "cat": {"precision": 3 / 5, "recall": 3 / 4, "f1": 2 / 3, "support": 4},
        "dog": {"precision": 2 / 3, "recall": 1, "f1": 4 / 5, "support": 2},
        "emu": {"precision": 0, "recall": 0, "f1": 0, "support": 0},
        "owl": {"precision": 0, "recall": 0, "f1": 0, "support": 2},
    }
    assert evaluation.metrics["accuracy"] == 5 / 8
    assert evaluation.metrics["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert evaluation.metrics["weighted_f1"] == pytest.approx((4 * 2 / 3 + 2 * 4 / 5 + 0) / 8)


@pytest.mark.parametrize(
    ("truth", "predicted", "r2"), [([2.0, 2.0], [2.0, 2.0], 1), ([2.0, 2.0], [2.0, 3.0], 0), ([5.0], [4.0], 0)]
)
def test_r2_of_labels_without_spread_is_one_only_for_perfect_predictions(truth, predicted, r2):
    assert evaluate_predictions(_frame(list(zip(truth, predicted, strict=True))), None).metrics["r2"] == r2


def test_predictions_without_bounds_are_refused():
    with pytest.raises(InvalidInputError, match="more 'regularisation'"):
        evaluate_predictions(_frame([(1.0, math.inf), (2.0, 1.0)]), None)


@pytest.mark.spark
def test_the_version_of_an_evaluation_holds_the_report_for_programs_and_for_people(store, train):
    make_features(store, tables())
    model = train()
    evaluation = evaluate_dataset(store, "support/model@latest", "support/evaluation", at=AT)
    assert evaluation.parents == (model.reference,)
    assert (evaluation.rows_in, evaluation.rows_out) == (15, 15)
    assert evaluation.statistics["metrics"]["macro_f1"] == 1
    directory = store.directory(evaluation)
    report = json.loads(directory.read("report.json"))
    assert list(report) == ["classes", "micro", "macro", "weighted"]
    assert report == evaluation.statistics["classification_report"]
    assert sorted(report["classes"]) == sorted(CLASSES)
    confusion = pl.read_parquet(io.BytesIO(directory.read("confusion_matrix.parquet")))
    assert confusion.rows() == [(name, name, 5) for name in CLASSES]
    page = directory.read("report.html").decode()
    assert model.reference in page
    assert all(name in page for name in CLASSES)
    assert evaluate_dataset(store, model.reference, "support/evaluation", at=AT) == evaluation


def test_a_regression_is_evaluated_too(store):
    features = make_features(store, {"train": [number_table(60, 0)]}, columns=("x", "y"))
    predictions = pa.table({"row_id": ["1", "2"], "label": [1.0, 3.0], "prediction": [1.5, 2.0]})
    make_model(store, features, predictions, "regression")
    evaluation = evaluate_dataset(store, "support/model", "support/evaluation", at=AT)
    assert evaluation.statistics["metrics"] == {"rmse": math.sqrt(1.25 / 2), "mae": 0.75, "r2": 1 - 1.25 / 2}
    assert {entry.path for entry in evaluation.files} == {"report.json", "report.html"}
    assert json.loads(store.directory(evaluation).read("report.json"))["support"] == 2


@pytest.mark.spark
def test_a_model_can_be_judged_by_the_test_rows_of_other_features(store, train, run_job):
    make_features(store, tables())
    train()
    later = tables({"test": 30}, labels=["card_arrival", "lost_card"])
    other = make_features(store, later, dataset="support/later")
    evaluation = evaluate_dataset(
        store, "support/model", "support/evaluation", at=AT, features=other.reference, run_job=run_job
    )
    assert evaluation.parents[1] == other.reference
    classes = evaluation.statistics["classification_report"]["classes"]
    assert {name: scores["support"] for name, scores in classes.items()} == {
        "card_arrival": 15,
        "exchange_rate": 0,
        "lost_card": 15,
        "top up": 0,
    }
    assert evaluation.statistics["metrics"]["accuracy"] == 0.5
    assert [folder for folder in store.directory(evaluation).folders() if folder.startswith("_")] == []


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        ({"splits": tables({"test": 9}), "label": None}, InvalidInputError, "no column 'label' to compare"),
        ({"splits": tables({"train": 9, "test": 0})}, EmptySourceError, "no test rows"),
        (
            {"splits": {"test": [number_table(9, 0)]}, "columns": ("x",)},
            InvalidInputError,
            r"reads the feature column 'body_tfidf' \(vector of 60\), and .* has none",
        ),
    ],
    ids=["no label", "no test rows", "other columns"],
)
def test_features_that_do_not_suit_the_model_are_refused(store, no_job, other, error, message):
    make_model(store, make_features(store, tables()), None)
    make_features(store, dataset="support/other", **other)
    with pytest.raises(error, match=message):
        evaluate_dataset(store, "support/model", "support/evaluation", at=AT, features="support/other", run_job=no_job)


def test_a_model_without_test_rows_says_what_to_do(store):
    make_model(store, make_features(store, tables()), None)
    with pytest.raises(EmptySourceError, match="without test rows; raise 'test' in 'split'"):
        evaluate_dataset(store, "support/model", "support/evaluation", at=AT)


def test_only_models_can_be_evaluated(store):
    features = make_features(store, tables())
    with pytest.raises(InvalidInputError, match=f"{features.reference} is no model"):
        evaluate_dataset(store, features.reference, "support/evaluation", at=AT)
