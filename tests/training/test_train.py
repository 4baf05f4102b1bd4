"""Training: the version of a model, what stops it before Spark starts, and that it is the same every time."""

from __future__ import annotations

import io

import polars as pl
import pyarrow as pa
import pytest

from airflow_dataflow.errors import EmptySourceError, InvalidInputError, JobFailedError, MissingColumnError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.training.train import train_dataset
from tests.training.versions import AT, CLASSES, FEATURES, SIZES, contents, make_features, number_table, table, tables

pytestmark = pytest.mark.spark


def _predictions(store, manifest, split="test"):
    return pl.read_parquet(io.BytesIO(store.directory(manifest).read(f"predictions/{split}.parquet")))


def test_a_version_of_a_model_holds_it_and_its_predictions(store, train):
    parent = make_features(store, tables())
    manifest = train()
    assert (manifest.kind, manifest.parents, manifest.rows_in, manifest.rows_out) == (
        "model",
        (parent.reference,),
        90,
        90,
    )
    assert manifest.recipe["trainer"] == "logistic_regression"
    assert manifest.recipe["parameters"]["max_iterations"] == 100
    assert manifest.statistics["problem"]["classes"] == list(CLASSES)
    assert [feature["name"] for feature in manifest.statistics["problem"]["features"]] == ["body_tfidf", "body_chars"]
    assert manifest.statistics["rows_by_split"] == SIZES
    assert manifest.statistics["metrics"]["accuracy"] == 1
    assert manifest.statistics["spark_version"].startswith("4")
    assert manifest.statistics["fit"]["iterations"] > 1
    for split in ("validation", "test"):
        predictions = _predictions(store, manifest, split)
        assert predictions.columns == ["row_id", "label", "prediction", "probability"]
        assert predictions["row_id"].is_sorted()
        assert len(predictions) == 15 == next(e.rows for e in manifest.files if e.path.endswith(f"{split}.parquet"))
        assert predictions["probability"].is_between(1 / 3, 1).all()
    assert set(store.directory(manifest).files()) == {entry.path for entry in manifest.files} | {"_manifest.json"}


def test_the_same_features_give_the_same_bytes_wherever_and_in_whatever_files_they_lie(store, train, tmp_path):
    splits = tables()
    make_features(store, splits)
    first = contents(store, train())
    other = Store([Tier(name="hot", tier_class="hot", url=str(tmp_path / "else [where]"))], _catalog(tmp_path))
    train_rows = splits["train"][0]
    pieces = {**splits, "train": [train_rows.slice(40), train_rows.slice(0, 5), train_rows.slice(5, 35)]}
    make_features(other, pieces)
    assert contents(other, train(store=other)) == first


def _catalog(tmp_path):
    from airflow_dataflow.datasets.catalog.catalog import Catalog

    return Catalog(f"sqlite:///{tmp_path}/other.db")


def test_the_same_work_is_done_once(store, train, no_job):
    make_features(store, tables())
    first = train()
    assert train(run_job=no_job) == first
    assert len(store.catalog.manifests("support/model")) == 1


def test_other_parameters_give_another_version(store, train):
    make_features(store, tables())
    versions = {train(parameters=parameters).version for parameters in ({}, {"regularisation": 1.0})}
    assert len(versions) == 2


def test_a_failed_application_leaves_nothing(store, train):
    make_features(store, tables())

    def die(spec):
        (spec.folder / "output").mkdir()
        (spec.folder / "output" / "half").write_text("half")
        raise spec.failure("", 1)

    with pytest.raises(JobFailedError, match="exit code 1"):
        train(run_job=die)
    assert not any("support/model" in path for path in store.hot.directory.files())


def test_an_application_without_a_result_has_failed(store, train):
    make_features(store, tables())
    with pytest.raises(JobFailedError, match="without a result"):
        train(run_job=lambda spec: None)


def test_a_regression_learns_numbers(store, train):
    splits = {split: [number_table(rows, seed)] for seed, (split, rows) in enumerate(SIZES.items())}
    make_features(store, splits, columns=("x", "y"))
    manifest = train("linear_regression", {"regularisation": 0})
    assert manifest.statistics["problem"]["classes"] is None
    assert manifest.statistics["metrics"]["r2"] == pytest.approx(1)
    predictions = _predictions(store, manifest)
    assert predictions.columns == ["row_id", "label", "prediction"]
    assert predictions["prediction"].to_list() == pytest.approx(predictions["label"].to_list())


def test_numbers_may_be_text(store, train):
    splits = {s: [number_table(rows, n).drop_columns("label_value")] for n, (s, rows) in enumerate(SIZES.items())}
    make_features(store, splits, columns=("x", "y"))
    assert train("linear_regression").statistics["metrics"]["r2"] > 0.99


def test_features_on_s3_are_fetched_and_the_model_is_put_there(train, bucket, s3_options, tmp_path):
    tier = Tier(name="hot", tier_class="hot", url=f"s3://{bucket}/hot", storage_options=s3_options)
    store = Store([tier], _catalog(tmp_path))
    make_features(store, tables())
    manifest = train(store=store)
    assert manifest.statistics["metrics"]["accuracy"] == 1
    assert len(_predictions(store, manifest)) == 15


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_for_judging_may_be_empty(store, train, split, caplog):
    make_features(store, tables(SIZES | {split: 0}))
    manifest = train()
    assert f"predictions/{split}.parquet" not in {entry.path for entry in manifest.files}
    assert bool(manifest.statistics["metrics"]) == (split == "test")
    assert f"the {split} split" in caplog.text


REFUSED = {
    "one class": (
        {"splits": tables(labels=CLASSES[:1])},
        {},
        InvalidInputError,
        "column 'intent' has the one class 'card_arrival' in all 60 training rows",
    ),
    "too many classes": (
        {"splits": tables(labels=[str(number) for number in range(40)])},
        {},
        InvalidInputError,
        "40 classes .* use a regression",
    ),
    "no label": ({"splits": tables(), "label": None}, {}, InvalidInputError, "has no label; name a column in 'label'"),
    "too few rows": (
        {"splits": tables(SIZES | {"train": 9})},
        {},
        EmptySourceError,
        "has 9 rows of 39, fewer than 10; .*raise 'train'",
    ),
    "no training rows": ({"splits": tables(SIZES | {"train": 0})}, {}, EmptySourceError, "has 0 rows of 30"),
    "no rows": ({"splits": tables(dict.fromkeys(SIZES, 0))}, {}, EmptySourceError, "no rows; see its quarantine"),
    "text for a regression": (
        {"splits": tables()},
        {"trainer": "linear_regression"},
        InvalidInputError,
        "column 'intent' .* which is not a number.*logistic_regression",
    ),
    "an unknown trainer": (
        {"splits": tables()},
        {"trainer": "logistic_regresion"},
        InvalidInputError,
        "no trainer named 'logistic_regresion'; did you mean 'logistic_regression'",
    ),
    "an unknown parameter": (
        {"splits": tables()},
        {"parameters": {"max_iteration": 5}},
        InvalidInputError,
        "no parameter 'max_iteration'; did you mean 'max_iterations'",
    ),
    "a wrong parameter": (
        {"splits": tables()},
        {"parameters": {"elastic_net_fraction": 2}},
        InvalidInputError,
        "elastic_net_fraction: .*less than or equal to 1 .*got 2",
    ),
    "a feature that is text": (
        {"splits": tables(), "columns": ("body_chars", "label")},
        {},
        InvalidInputError,
        "feature column 'label' .* holds string; a trainer reads numbers",
    ),
    "a feature that is not there": (
        {"splits": tables(), "columns": ("body_length",)},
        {},
        MissingColumnError,
        "lacks its feature column 'body_length'",
    ),
}


@pytest.mark.parametrize(("features", "options", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_found_before_spark_starts(store, no_job, features, options, error, message):
    make_features(store, **features)
    given = {"trainer": "logistic_regression", "parameters": {}} | options
    with pytest.raises(error, match=message):
        train_dataset(store, FEATURES, "support/model", **given, at=AT, run_job=no_job)


@pytest.mark.parametrize("value", ["nan", "inf", "12 apples", ""])
def test_a_label_that_is_no_number_is_named(store, no_job, value):
    rows = number_table(60, 0).drop_columns("label_value")
    labels = pa.array([*rows["label"].to_pylist()[:-1], value])
    make_features(store, {"train": [rows.set_column(1, "label", labels)]}, columns=("x", "y"))
    with pytest.raises(InvalidInputError, match=f"holds '{value}', which is not a number"):
        train_dataset(store, FEATURES, "support/model", "linear_regression", {}, at=AT, run_job=no_job)


def test_a_version_without_features_cannot_be_trained_on(store, train, no_job):
    make_features(store, tables())
    model = train()
    with pytest.raises(InvalidInputError, match=f"{model.reference} holds no features"):
        train(source=model.reference, target="support/other", run_job=no_job)


def test_rows_with_an_id_of_their_own_may_share_it(store, train):
    rows = table(60, 0)
    same = rows.set_column(0, "row_id", pa.array(["same"] * 60))
    make_features(store, {**tables(), "train": [same]})
    assert train().statistics["metrics"]["accuracy"] == 1
