"""From a raw file to a judged model by the command line alone, in folders and in a store."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.storage.store import Store

Dataflow = Callable[..., Any]

WORDS = {
    "refund": "please return my money now",
    "delivery": "where is the parcel today",
    "login": "cannot enter my account",
}
RECIPE = """
text: body
label: intent
rules:
  - not_null: {}
  - exact_duplicates: {}
features:
  - hashed_tfidf: {dimensions: 512}
"""


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a CSV file with 300 messages, one of them twice and one without a text."""
    rows = [(f"{words}, case {number}", intent) for number in range(100) for intent, words in WORDS.items()]
    path = tmp_path / "messages.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("body", "intent"), *rows, rows[0], ("", "login")])
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a recipe file."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def manifest(folder: Path) -> Manifest:
    """Return the manifest in a folder."""
    return Manifest.from_bytes((folder / "_manifest.json").read_bytes(), str(folder))


def test_clean_writes_the_promised_layout_and_says_what_became_of_each_row(
    dataflow: Dataflow, raw: Path, recipe: Path, tmp_path: Path
) -> None:
    outcome = dataflow("clean", raw, tmp_path / "clean", "--recipe", recipe, "--format", "json")
    assert outcome.code == 0, outcome.error
    made = manifest(tmp_path / "clean")
    assert outcome.json == {
        "output": str(tmp_path / "clean"),
        "reference": made.reference,
        "rows_in": 302,
        "rows_out": 300,
        "rows_quarantined": 2,
        "quarantined_by_reason": {"exact_duplicate": 1, "missing_body": 1},
        "metrics": {},
    }
    kept = pl.read_parquet(tmp_path / "clean" / "data" / "*.parquet")
    lost = pl.read_parquet(tmp_path / "clean" / "quarantine" / "*.parquet")
    assert (kept.height, lost.height) == (300, 2)
    assert {"row_id", "rule", "reason", "value", "duplicate_of"} < set(lost.columns)
    assert (tmp_path / "clean" / "report.html").exists()


def test_the_same_command_again_changes_nothing(dataflow: Dataflow, raw: Path, recipe: Path, tmp_path: Path) -> None:
    arguments = ("clean", raw, tmp_path / "clean", "--recipe", recipe, "--format", "json")
    first = dataflow(*arguments)
    assert dataflow(*arguments) == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clean", "nowhere.csv", "OUT", "--recipe", "RECIPE"), "nowhere.csv"),
        (("clean", "RAW", "OUT", "--recipe", "nowhere.yaml"), "no recipe file 'nowhere.yaml'"),
        (("clean", "RAW", "RAW", "--recipe", "RECIPE"), "is not empty"),
        (("clean", "RAW", "OUT"), "--recipe"),
        (("features", "RAW", "OUT", "--recipe", "RECIPE"), "holds no version"),
        (("train", "logistic_regresion", "CLEAN", "OUT"), "did you mean 'logistic_regression'"),
        (("train", "logistic_regression", "CLEAN", "OUT", "--param", "regularisation"), "form name=value"),
        (("train", "logistic_regression", "CLEAN", "OUT", "--param", "regularisation=high"), "regularisation"),
        (("train", "logistic_regression", "CLEAN", "OUT"), "holds no features"),
        (("evaluate", "support/model@latest", "CLEAN"), "two references, or two folders"),
        (("evaluate", "CLEAN", "CLEAN"), "is no model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_named_and_makes_nothing(
    dataflow: Dataflow, raw: Path, recipe: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    named = {"RAW": raw, "RECIPE": recipe, "OUT": tmp_path / "out", "CLEAN": tmp_path / "clean"}
    assert dataflow("clean", raw, named["CLEAN"], "--recipe", recipe).code == 0
    outcome = dataflow(*(named.get(word, word) for word in arguments))
    assert outcome.code == 2, outcome.error
    assert message in outcome.error
    assert outcome.error.count("\n") == 1
    assert not named["OUT"].exists()


@pytest.mark.spark
@pytest.mark.timeout(600)
def test_a_raw_file_becomes_a_model_judged_on_its_own_and_on_other_rows(
    dataflow: Dataflow, raw: Path, recipe: Path, tmp_path: Path
) -> None:
    clean, features, model = (tmp_path / name for name in ("clean", "features", "model"))
    for arguments in (
        ("clean", raw, clean, "--recipe", recipe),
        ("features", clean, features, "--recipe", recipe),
        ("train", "logistic_regression", features, model, "--param", "regularisation=0.001"),
    ):
        outcome = dataflow(*arguments)
        assert outcome.code == 0, outcome.error
    assert manifest(model).kind == "model"
    assert manifest(model).recipe is not None
    assert manifest(model).recipe["parameters"]["regularisation"] == 0.001
    report = dataflow("evaluate", model, features, "--format", "json").json
    assert set(report["classes"]) == set(WORDS)
    assert set(report) == {"classes", "micro", "macro", "weighted"}
    assert report["macro"]["f1"] > 0.9
    table = dataflow("evaluate", model, features, "--output", tmp_path / "evaluation").out
    assert "refund" in table
    assert "(macro average)" in table
    assert json.loads((tmp_path / "evaluation" / "report.json").read_text()) == report

    pl.read_csv(raw).head(150).write_csv(tmp_path / "half.csv")
    for arguments in (
        ("clean", tmp_path / "half.csv", tmp_path / "other", "--recipe", recipe),
        ("features", tmp_path / "other", tmp_path / "others", "--recipe", recipe),
    ):
        assert dataflow(*arguments).code == 0
    other = dataflow("evaluate", model, tmp_path / "others", "--format", "json").json
    assert 0 < other["micro"]["support"] < report["micro"]["support"]


def test_references_make_versions_in_the_store(
    dataflow: Dataflow, raw: Path, recipe: Path, store: Store, store_file: Path
) -> None:
    ingest(store, str(raw), "support/raw", at=datetime(2026, 11, 23, 2, 15, tzinfo=UTC))
    arguments = ("support/raw@latest", "support/clean", "--recipe", recipe, "--store", store_file)
    outcome = dataflow("clean", *arguments, "--format", "json")
    assert outcome.code == 0, outcome.error
    assert store.manifest("support/clean@latest").reference == outcome.json["reference"]
    arguments = ("support/clean@latest", "support/features", "--recipe", recipe, "--store", store_file)
    outcome = dataflow("features", *arguments)
    assert outcome.code == 0, outcome.error
    assert store.manifest("support/features@latest").parents == (store.manifest("support/clean@latest").reference,)


def test_a_version_made_with_a_clock_that_was_set_back_is_the_latest_all_the_same(
    dataflow: Dataflow, raw: Path, recipe: Path, store: Store, store_file: Path
) -> None:
    ingest(store, str(raw), "support/raw", at=datetime(2026, 11, 23, 2, 15, tzinfo=UTC))
    future = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    with store.draft("support/clean", at=future, fingerprint="4f2a9c") as draft:
        draft.commit(Rows())
    outcome = dataflow("clean", "support/raw", "support/clean", "--recipe", recipe, "--store", store_file)
    assert outcome.code == 2, "a name alone is a folder"
    arguments = ("support/raw@latest", "support/clean", "--recipe", recipe, "--store", store_file)
    made = dataflow("clean", *arguments, "--format", "json").json["reference"]
    assert store.manifest("support/clean@latest").reference == made
    assert store.manifest(made).created_at == future + timedelta(seconds=1)
