from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.engines.tables import read_batches
from airflow_dataflow.errors import EmptySourceError, InvalidInputError, MissingColumnError, NotFoundError
from airflow_dataflow.features.extract import extract_dataset
from airflow_dataflow.features.pipeline import load_extractors
from airflow_dataflow.features.split import split_of
from airflow_dataflow.recipe import Recipe, load_recipe
from airflow_dataflow.storage.store import Store

FEATURES: list[Any] = ["text_statistics", {"hashed_tfidf": {"dimensions": 128}}, {"numeric": {"columns": ["seconds"]}}]
PLAIN = {"id": "id", "text": "body", "label": "intent", "features": FEATURES}

Cleaned = Callable[..., Manifest]
Extract = Callable[..., Manifest]
Read = Callable[[Manifest], pl.DataFrame]


def messages(first: int, count: int) -> pl.DataFrame:
    """Return made messages, some of which have no label."""
    numbers = range(first, first + count)
    words = ["card", "refund", "where", "Ünïcode", "!", "東京", "my", "is"]
    return pl.DataFrame(
        {
            "id": [f"m{number}" for number in numbers],
            "body": [" ".join(words[(number * step) % 8] for step in range(number % 6)) for number in numbers],
            "intent": [[None, " ", "lost", "late", "late"][number % 5] for number in numbers],
            "seconds": [None if number % 7 == 0 else number / 3 for number in numbers],
        }
    )


@pytest.fixture
def extract(store: Store, nights: tuple[datetime, ...]) -> Extract:
    """Return a function that extracts features of a version into the dataset ``features``."""

    def run(source: Manifest, recipe: Recipe | dict[str, Any] = PLAIN, night: int = 0, **options: Any) -> Manifest:
        loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        return extract_dataset(store, source.reference, "features", loaded, at=nights[night], **options)

    return run


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with the path of each file whose rows are read."""
    seen: list[str] = []

    def spy(file: Any, *args: Any, **options: Any) -> Iterator[Any]:
        seen.append(file.path)
        return read_batches(file, *args, **options)

    monkeypatch.setattr("airflow_dataflow.engines.local.read_batches", spy)
    return seen


def test_every_row_is_on_one_side_or_in_the_quarantine(
    store: Store, cleaned: Cleaned, extract: Extract, features_of: Read
) -> None:
    rows = messages(0, 500)
    made = extract(cleaned({"a": rows[:300], "b": rows[300:]}))
    assert (made.rows_in, made.rows_out, made.rows_quarantined) == (500, 300, 200)
    assert made.quarantined_by_reason == {"missing_label": 200}
    kept = features_of(made)
    labelled = rows.filter(pl.col("intent").str.strip_chars() != "").sort("id")
    assert kept["row_id"].to_list() == labelled["id"].to_list()
    assert kept["label"].to_list() == labelled["intent"].to_list()
    assert kept["side"].to_list() == split_of(labelled["id"], load_recipe(PLAIN).split).to_list()
    by_split = made.statistics["rows_by_split"]
    assert by_split == {side: int((kept["side"] == side).sum()) for side in by_split}
    assert [(source.path, source.rows_in, source.rows_out, source.rows_quarantined) for source in made.sources] == [
        ("data/a.parquet", 300, 180, 120),
        ("data/b.parquet", 200, 120, 80),
    ]
    assert {entry.path for entry in made.files if entry.rows} == {
        path for file in made.sources for path in file.outputs
    }


def test_the_quarantine_keeps_all_columns_and_says_why(store: Store, cleaned: Cleaned, extract: Extract) -> None:
    rows = pl.DataFrame({"body": ["a", "b", "c", "d"], "score": [1.0, math.nan, None, math.inf]})
    recipe = {
        "text": "body",
        "label": "score",
        "features": ["text_statistics"],
        "split": {"train": 1, "validation": 0, "test": 0},
    }
    made = extract(cleaned({"a": rows}), recipe)
    rejected = pl.read_parquet(store.directory(made).read("quarantine/a.parquet"))
    assert rejected.columns == ["body", "score", "row_id", "rule", "reason", "value", "duplicate_of"]
    assert rejected.drop("score", "value").rows() == [
        (body, f"a:{row}", "missing_label", "missing_label", None) for row, body in enumerate("bcd", 2)
    ]
    assert rejected["value"].equals(rejected["score"])
    np.testing.assert_array_equal(rejected["value"].to_numpy(), [math.nan, math.nan, math.inf])


def test_features_do_not_depend_on_the_size_of_batches(
    cleaned: Cleaned, extract: Extract, features_of: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cleaned({"a": messages(0, 60), "b": messages(60, 3)})
    large = features_of(extract(source))
    monkeypatch.setattr("airflow_dataflow.features.extract._BATCH_BYTES", 1)
    small = features_of(extract(source, night=1, refit=True))
    assert_frame_equal(small, large)


def test_state_is_fitted_on_training_rows_alone(
    store: Store, cleaned: Cleaned, extract: Extract, features_of: Read
) -> None:
    rows = messages(0, 500)
    made = extract(cleaned({"a": rows}))
    training = features_of(made).filter(side="train")
    for name in ("body_characters", "seconds"):
        column = training[name].to_numpy()
        assert column.mean() == pytest.approx(0, abs=1e-9)
    assert training["body_characters"].to_numpy().std() == pytest.approx(1)
    ids = training["row_id"].implode()
    present = rows.filter(pl.col("id").is_in(ids))["seconds"].drop_nulls()
    state = load_extractors(store.directory(made)).states[2]
    assert state["center"].tolist() == pytest.approx([present.mean()])
    assert state["scale"].tolist() == pytest.approx([present.std(ddof=0)])


def test_new_rows_are_served_with_the_stored_state(
    store: Store, cleaned: Cleaned, extract: Extract, features_of: Read
) -> None:
    rows = messages(0, 100)
    made = extract(cleaned({"a": rows}))
    kept = features_of(made)
    served = load_extractors(store.directory(made)).transform(
        rows.filter(pl.col("id").is_in(kept["row_id"].implode())).sort("id")
    )
    assert served.columns == made.statistics["features"]["columns"]
    assert kept.select(served.columns).equals(served)


def test_the_second_night_reads_only_new_files_and_keeps_the_state(
    store: Store, cleaned: Cleaned, extract: Extract, files_read: list[str], features_of: Read
) -> None:
    first = extract(cleaned({"a": messages(0, 200), "b": messages(200, 100)}))
    files_read.clear()
    second = extract(cleaned({"a": messages(0, 200), "b": messages(200, 100), "c": messages(300, 50)}, 1), night=1)
    assert set(files_read) == {"data/c.parquet"}
    assert [source.carried_from for source in second.sources] == [first.version, first.version, None]
    assert (second.rows_in, second.rows_out) == (350, 210)
    assert second.statistics["features"]["fitted_in"] == first.version
    state = [entry for entry in first.files if entry.path.startswith("state/")]
    assert [entry for entry in second.files if entry.path.startswith("state/")] == state
    assert set(first.files) < set(second.files)
    assert store.verify(second)


def test_carrying_over_gives_the_files_that_making_them_gives(store: Store, cleaned: Cleaned, extract: Extract) -> None:
    old, new = messages(0, 200), messages(200, 100)
    extract(cleaned({"a": old}))
    carried = extract(cleaned({"a": old, "b": new}, 1), night=1)
    state = load_extractors(store.directory(carried))
    extract(cleaned({"a": messages(0, 199), "b": new}, 2), night=2)
    remade = extract(cleaned({"a": old, "b": new}, 3), night=3)
    assert [source.carried_from is None for source in remade.sources] == [True, False]
    assert remade.files == carried.files
    assert [left.keys() for left in state.states] == [
        right.keys() for right in load_extractors(store.directory(remade)).states
    ]


def test_a_refit_uses_all_training_rows_and_makes_all_files(cleaned: Cleaned, extract: Extract, store: Store) -> None:
    first = extract(cleaned({"a": messages(0, 200)}))
    source = cleaned({"a": messages(0, 200), "b": messages(200, 100)}, 1)
    reused = extract(source, night=1)
    refitted = extract(source, night=2, refit=True)
    assert refitted.version != reused.version
    assert [file.carried_from for file in refitted.sources] == [None, None]
    assert refitted.statistics["features"]["fitted_in"] == refitted.version != first.version
    centers = [load_extractors(store.directory(each)).states[2]["center"] for each in (first, reused, refitted)]
    assert centers[0] == centers[1] != centers[2]
    assert extract(source, night=3, refit=True) == refitted


@pytest.mark.parametrize("change", [{"split": {"salt": "x"}}, {"features": FEATURES[:2]}, {"text": "body", "id": None}])
def test_another_recipe_starts_anew(cleaned: Cleaned, extract: Extract, change: dict[str, Any]) -> None:
    source = cleaned({"a": messages(0, 100)})
    extract(source)
    other = extract(source, PLAIN | change, night=1)
    assert other.sources[0].carried_from is None
    assert other.statistics["features"]["fitted_in"] == other.version


def test_the_same_work_is_done_once(cleaned: Cleaned, extract: Extract, files_read: list[str]) -> None:
    source = cleaned({"a": messages(0, 100)})
    first = extract(source)
    files_read.clear()
    assert extract(source, night=1) == first
    assert files_read == []


KILLED = """
import os, signal, sys
from datetime import datetime
from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.features.extract import extract_dataset
from airflow_dataflow.recipe import load_recipe
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

folder, source, recipe, at = sys.argv[1:]
VersionDraft.commit = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)
store = Store([Tier(name="hot", tier_class="hot", url=f"{folder}/hot")], Catalog(f"sqlite:///{folder}/catalog.db"))
extract_dataset(store, source, "features", load_recipe(recipe), at=datetime.fromisoformat(at))
"""


def test_an_attempt_after_a_kill_makes_what_an_undisturbed_one_makes(
    store: Store, cleaned: Cleaned, extract: Extract, tmp_path: Path, nights: tuple[datetime, ...]
) -> None:
    source = cleaned({"a": messages(0, 100), "b": messages(100, 100)})
    arguments = [str(tmp_path), source.reference, json.dumps(PLAIN), nights[0].isoformat()]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert list((tmp_path / "hot" / "features").rglob("*.parquet"))
    assert store.catalog.manifests("features") == []
    after_kill = extract(source)
    content = contents(store, after_kill)
    store.remove_copy(store.hot, "features", after_kill.version)
    store.catalog.remove("features", after_kill.version)
    assert contents(store, extract(source)) == content


def contents(store: Store, manifest: Manifest) -> dict[str, bytes]:
    """Return all files of a version."""
    folder = store.directory(manifest)
    return {path: folder.read(path) for path in folder.files()}


def test_a_previous_version_that_is_gone_is_no_reason_to_fail(store: Store, cleaned: Cleaned, extract: Extract) -> None:
    first = extract(cleaned({"a": messages(0, 100)}))
    store.remove_copy(store.hot, "features", first.version)
    for replica in store.catalog.replicas("features", first.version):
        store.catalog.remove_replica(replica)
    second = extract(cleaned({"a": messages(0, 100)}, 1), night=1)
    assert second.statistics["features"]["fitted_in"] == second.version


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 2, 1], {"label": ["1", "2", "1"], "label_value": [1.0, 2.0, 1.0]}),
        ([3.0, 0.5, -1.0], {"label": ["3", "0.5", "-1"], "label_value": [3.0, 0.5, -1.0]}),
        ([True, False, True], {"label": ["true", "false", "true"]}),
        ([" yes", "no", "yes "], {"label": ["yes", "no", "yes"]}),
    ],
)
def test_labels_are_kept_as_text_and_numbers_also_as_numbers(
    cleaned: Cleaned, extract: Extract, features_of: Read, labels: list[Any], expected: dict[str, list[Any]]
) -> None:
    rows = pl.DataFrame({"id": ["a", "b", "c"], "body": ["x", "y", "z"], "target": labels})
    made = extract(cleaned({"a": rows}), {"id": "id", "text": "body", "label": "target", "features": ["hashed_tfidf"]})
    found = features_of(made).drop("side", "row_id", "body_hashed_tfidf")
    assert found.to_dict(as_series=False) == expected
    assert set(made.columns) == {"row_id", "body_hashed_tfidf", *expected}


def test_a_label_that_is_text_in_one_file_is_no_number_in_any(
    cleaned: Cleaned, extract: Extract, features_of: Read
) -> None:
    recipe = {"id": "id", "text": "body", "label": "target", "features": ["hashed_tfidf"]}
    numbers = pl.DataFrame({"id": ["a", "b"], "body": ["x", "y"], "target": [1.0, 2.0]})
    words = pl.DataFrame({"id": ["c"], "body": ["z"], "target": ["many"]})
    first = extract(cleaned({"a": numbers}), recipe)
    second = extract(cleaned({"a": numbers, "b": words}, 1), recipe, night=1)
    assert "label_value" in first.columns
    assert "label_value" not in second.columns
    assert features_of(second)["label"].to_list() == ["1", "2", "many"]
    assert [source.carried_from for source in second.sources] == [None, None]


def test_rows_without_labels_are_welcome_when_no_label_is_named(
    cleaned: Cleaned, extract: Extract, features_of: Read
) -> None:
    made = extract(cleaned({"a": messages(0, 50)}), {"text": "body", "features": ["text_statistics"]})
    assert (made.rows_out, made.rows_quarantined, made.quarantined_by_reason) == (50, 0, {})
    assert "label" not in made.columns
    assert set(features_of(made)["row_id"]) == {f"a:{row}" for row in range(1, 51)}


def test_a_single_row_is_enough(cleaned: Cleaned, extract: Extract, features_of: Read) -> None:
    rows = pl.DataFrame(
        {"id": ["a"], "body": [""], "intent": ["late"], "seconds": [None]}, schema_overrides={"seconds": pl.Float64}
    )
    made = extract(cleaned({"a": rows}))
    vector = features_of(made)["body_hashed_tfidf"].item()
    assert vector == {"type": 0, "size": 128, "indices": [], "values": []}


def test_a_huge_dimension_makes_no_huge_files(cleaned: Cleaned, extract: Extract) -> None:
    recipe = PLAIN | {"features": [{"hashed_tfidf": {"dimensions": 1 << 20, "ngram_max": 3}}]}
    made = extract(cleaned({"a": messages(0, 200)}), recipe)
    assert sum(entry.bytes for entry in made.files_under("data")) < 100_000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"label": "intend"}, (MissingColumnError, r"no column 'intend' in clean@\S+; did you mean 'intent'")),
        ({"text": "bodi"}, (MissingColumnError, "no column 'bodi' in .*; did you mean 'body'")),
        ({"id": "ids"}, (MissingColumnError, "no column 'ids' in .*; did you mean 'id'")),
        ({"features": [{"numeric": {"columns": ["second"]}}]}, (MissingColumnError, "'second'.*mean 'seconds'")),
        ({"features": []}, (InvalidInputError, "names no feature extractor")),
        ({"features": [{"numeric": {"columns": ["body"]}}]}, (InvalidInputError, "'body' holds String, not numbers")),
        ({"text": "seconds"}, (InvalidInputError, "'seconds' holds Float64, not text")),
        ({"label": "seconds"}, (InvalidInputError, "'seconds' is the label and an extractor reads it")),
        ({"split": {"train": 0, "validation": 0.5, "test": 0.5}}, (EmptySourceError, "raise 'train' in 'split'")),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_and_leaves_nothing(
    store: Store, cleaned: Cleaned, extract: Extract, change: dict[str, Any], expected: tuple[type[Exception], str]
) -> None:
    source = cleaned({"a": messages(0, 50)})
    with pytest.raises(expected[0], match=expected[1]):
        extract(source, PLAIN | change)
    assert store.hot.directory.child("features").files() == {}
    with pytest.raises(NotFoundError):
        store.manifest("features@latest")


def test_a_source_without_any_label_is_refused(cleaned: Cleaned, extract: Extract) -> None:
    rows = messages(0, 10).with_columns(intent=pl.lit(None, pl.String))
    with pytest.raises(EmptySourceError, match=r"nothing to fit on.*rows with a label"):
        extract(cleaned({"a": rows}))
    extract(cleaned({"a": messages(0, 10)}, 1), night=1)
    with pytest.raises(
        EmptySourceError, match=r"none of the 10 rows of clean@\S+ has a value in the label column 'intent'"
    ):
        extract(cleaned({"b": rows}, 2), night=2)


def test_new_rows_that_all_lack_a_label_go_to_the_quarantine(cleaned: Cleaned, extract: Extract) -> None:
    extract(cleaned({"a": messages(0, 50)}))
    unlabelled = messages(50, 10).with_columns(intent=pl.lit(None, pl.String))
    made = extract(cleaned({"a": messages(0, 50), "b": unlabelled}, 1), night=1)
    assert (made.sources[1].rows_out, made.sources[1].rows_quarantined) == (0, 10)


def test_a_source_without_rows_is_refused(store: Store, nights: tuple[datetime, ...], extract: Extract) -> None:
    with store.draft("clean", at=nights[0], fingerprint="0" * 64) as draft:
        empty = draft.commit(Rows())
    with pytest.raises(EmptySourceError, match="has no rows"):
        extract(empty)


def test_features_do_not_go_into_the_dataset_that_they_come_from(
    store: Store, cleaned: Cleaned, nights: tuple[datetime, ...]
) -> None:
    source = cleaned({"a": messages(0, 10)})
    with pytest.raises(InvalidInputError, match="source and target are both 'clean'"):
        extract_dataset(store, source.reference, "clean", load_recipe(PLAIN), at=nights[1])


def test_a_feature_must_not_hide_a_column_of_ours(cleaned: Cleaned, extract: Extract) -> None:
    rows = pl.DataFrame({"label": [1.0, 2.0], "target": ["a", "b"]})
    with pytest.raises(InvalidInputError, match="makes a column 'label'"):
        extract(cleaned({"a": rows}), {"label": "target", "features": [{"numeric": {"columns": ["label"]}}]})
