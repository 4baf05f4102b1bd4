from __future__ import annotations

import itertools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, MissingColumnError, NotFoundError
from airflow_dataflow.features.pipeline import FittedPipeline, build_extractors, load_extractors
from airflow_dataflow.recipe import load_recipe
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store

FEATURES: list[Any] = [
    "text_statistics",
    {"hashed_tfidf": {"dimensions": 64, "ngram_max": 2}},
    {"numeric": {"columns": ["n"], "scaling": "robust", "missing_indicator": True}},
]
ROWS = pl.DataFrame({"body": ["Hello, my card!", "where is it?", "", "my card is blue"], "n": [1.0, None, 3.0, 5.0]})


def fitted(*batches: pl.DataFrame, features: list[Any] = FEATURES) -> FittedPipeline:
    pipeline = build_extractors(load_recipe({"text": "body", "features": features}))
    return pipeline.fit(pipeline.merge(pl.concat(pipeline.summarise(batch) for batch in batches)))


def saved(pipeline: FittedPipeline, store: Store, at: datetime) -> Directory:
    with store.draft("features", at=at, fingerprint="0" * 64) as draft:
        pipeline.save(draft)
        draft.commit(Rows())
    return draft.directory


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "names no feature extractor; add 'features', with one or more of hashed_tfidf, numeric, text_statistics"),
        (["hashed_tfdf"], "no feature extractor named 'hashed_tfdf'; did you mean 'hashed_tfidf'"),
        ([{"hashed_tfidf": {"dimension": 3}}], "has no parameter 'dimension'; did you mean 'dimensions'"),
        ([{"hashed_tfidf": {"dimensions": 0}}], r"dimensions: .*greater than or equal to 1 \(got 0\)"),
        ([{"numeric": {"columns": []}}], "columns: .*at least 1 item"),
        ([{"numeric": {}}], "columns: Field required"),
        ([{"numeric": {"columns": ["n"], "scaling": "minmax"}}], "scaling: .*'standard' or 'robust'"),
        ([{"numeric": {"columns": ["n", "n"]}}], "two extractors make the column 'n'"),
        (["hashed_tfidf", {"hashed_tfidf": {"ngram_max": 2}}], "two extractors make the column 'body_hashed_tfidf'"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_hint(features: list[Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_extractors(load_recipe({"text": "body", "features": features}))


def test_text_extractors_need_a_column_from_somewhere() -> None:
    with pytest.raises(InvalidInputError, match="'text_statistics' names no 'column', and the recipe has no 'text'"):
        build_extractors(load_recipe({"features": ["text_statistics"]}))
    other = load_recipe({"text": "body", "features": [{"hashed_tfidf": {"column": "title"}}]})
    assert build_extractors(other).reads == ("title",)


def test_columns_come_in_the_order_of_the_recipe() -> None:
    features = fitted(ROWS).transform(ROWS)
    assert features.columns[0] == "body_characters"
    assert features.columns[-3:] == ["body_hashed_tfidf", "n", "n_missing"]
    assert features.select(pl.all().null_count()).row(0) == (0,) * features.width


@given(st.lists(st.integers(0, len(ROWS)), max_size=4))
def test_the_state_does_not_depend_on_how_rows_came_in_batches(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(ROWS)]
    batches = [ROWS[start:end] for start, end in itertools.pairwise(bounds)]
    once, cut = fitted(ROWS), fitted(*batches)
    for left, right in zip(once.states, cut.states, strict=True):
        for key in left:
            assert left[key] == pytest.approx(right[key])


def test_extractors_without_anything_to_fit_need_only_rows() -> None:
    raw = fitted(ROWS, features=[{"text_statistics": {"standardise": False}}])
    assert raw.states == ({},)
    assert raw.transform(ROWS)["body_words"].to_list() == [3, 3, 0, 4]


def test_a_saved_pipeline_gives_the_same_features_again(store: Store, nights: tuple[datetime, ...]) -> None:
    pipeline = fitted(ROWS)
    loaded = load_extractors(saved(pipeline, store, nights[0]))
    assert loaded.pipeline == pipeline.pipeline
    assert loaded.transform(ROWS).equals(pipeline.transform(ROWS))


def test_equal_states_are_saved_as_equal_bytes(store: Store, nights: tuple[datetime, ...]) -> None:
    first, second = (saved(fitted(ROWS), store, night).child("state") for night in nights[:2])
    assert [first.digest(path) for path in first.files()] == [second.digest(path) for path in second.files()]


@pytest.fixture
def folder(store: Store, nights: tuple[datetime, ...]) -> Path:
    return Path(saved(fitted(ROWS), store, nights[0]).root)


def test_a_folder_without_state_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file 'state/extractors\.json'"):
        load_extractors(Directory.from_url(str(tmp_path)))


@pytest.mark.parametrize("name", ["extractors.json", "01_hashed_tfidf/idf.npy"])
def test_a_damaged_state_is_refused(folder: Path, name: str) -> None:
    path = folder / "state" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptDataError, match=f"{name} is damaged"):
        load_extractors(Directory.from_url(str(folder)))


def test_a_state_with_another_meaning_is_refused(folder: Path) -> None:
    index = folder / "state" / "extractors.json"
    items = json.loads(index.read_text())
    items[0]["scheme"] = "text_statistics/0"
    index.write_text(json.dumps(items))
    with pytest.raises(InvalidInputError, match=r"scheme 'text_statistics/0'.*extract the features again"):
        load_extractors(Directory.from_url(str(folder)))


def test_new_rows_without_a_column_are_refused() -> None:
    with pytest.raises(MissingColumnError, match="no column 'body' in the data; did you mean 'bodies'"):
        fitted(ROWS).transform(ROWS.rename({"body": "bodies"}))
