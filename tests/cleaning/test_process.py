"""Whatever the rows, they are all accounted for, and neither batches nor nights change what happens to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from airflow_dataflow.errors import EmptySourceError

TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["", " ", "a", "A ", "b\u00a0c", "B  c", "mail a@b.io", "the cat and the dog", "٣", "👍", "\x00"]),
    st.text(max_size=8),
)
NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 1e9, math.nan, math.inf, -math.inf]), st.floats())
ROWS = st.lists(st.tuples(TEXTS, NUMBERS), max_size=8)
ROW_WISE = ["mask_pii", "not_null", "exact_duplicates", {"text_length": {"max_chars": 12}}]
DATA_WIDE = [
    *ROW_WISE,
    {"iqr_outliers": {"columns": ["number"], "k": 1.0}},
    {"impute": {"columns": ["number"], "strategy": "mean"}},
]
EVERY_RULE = [
    {"impute": {"columns": ["text"], "strategy": "most_frequent"}},
    {"iqr_outliers": {"columns": ["number"], "action": "clip"}},
    *DATA_WIDE,
    {"gopher_quality": {"min_words": None, "min_mean_word_chars": 2, "min_stop_words": None}},
    {"exact_duplicates": {"columns": ["number"]}},
]

properties = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def frame(rows: list[tuple[Any, Any]]) -> pl.DataFrame:
    """Return rows as a table."""
    return pl.DataFrame(rows, {"text": pl.String, "number": pl.Float64}, orient="row")


def clean(workshop: Any, files: list[list[tuple[Any, Any]]], rules: list[Any], **options: Any) -> Any:
    """Clean files, given by their rows, or give the example up when nothing would be left."""
    named = {f"f{number}": frame(rows) for number, rows in enumerate(files)}
    try:
        return workshop.clean(named, {"text": "text", "rules": rules}, **options)
    except EmptySourceError:
        assume(False)


def outcome(cleaned: Any) -> tuple[list[Any], list[Any]]:
    """Return all that was kept, and all that was rejected with what is said of it, in order; NaN as text."""
    frames = (cleaned.data, cleaned.rows("quarantine"))
    return tuple(rows.with_columns(pl.selectors.float().cast(pl.String)).rows() for rows in frames)


@properties
@given(files=st.lists(ROWS, min_size=1, max_size=3))
def test_every_row_goes_to_one_place(files: Any, workshops: Callable[[], Any]) -> None:
    with workshops() as workshop:
        cleaned = clean(workshop, files, EVERY_RULE)
        manifest = cleaned.manifest
        data, quarantine = cleaned.data, cleaned.rows("quarantine")
    assert manifest.rows_in == sum(map(len, files))
    assert (manifest.rows_out, manifest.rows_quarantined) == (len(data), len(quarantine))
    assert manifest.rows_in == manifest.rows_out + manifest.rows_quarantined
    if len(quarantine):
        assert dict(quarantine["reason"].value_counts().iter_rows()) == manifest.quarantined_by_reason
        assert quarantine["reason"].null_count() == quarantine["row_id"].null_count() == 0
        assert quarantine["row_id"].n_unique() == len(quarantine)


@properties
@given(files=st.lists(ROWS, min_size=1, max_size=2))
def test_the_size_of_batches_does_not_matter(files: Any, workshops: Callable[[], Any]) -> None:
    with workshops() as workshop:
        one, many = (clean(workshop, files, EVERY_RULE, batch_bytes=size) for size in (1, 1 << 20))
        assert outcome(one) == outcome(many)
        assert one.manifest.statistics == many.manifest.statistics


@properties
@given(first=ROWS, second=ROWS)
def test_two_nights_do_what_one_does(first: Any, second: Any, workshops: Callable[[], Any]) -> None:
    with workshops() as workshop:
        earlier = clean(workshop, [first], ROW_WISE)
        later = clean(workshop, [first, second], ROW_WISE, previous=earlier)
        at_once = clean(workshop, [first, second], ROW_WISE)
        assert outcome(later) == outcome(at_once)
        assert later.manifest.statistics == at_once.manifest.statistics
        assert later.manifest.quarantined_by_reason == at_once.manifest.quarantined_by_reason
        assert [entry.digest for entry in later.manifest.files] == [entry.digest for entry in at_once.manifest.files]


@properties
@given(rows=ROWS)
def test_what_is_clean_stays_as_it_is(rows: Any, workshops: Callable[[], Any]) -> None:
    with workshops() as workshop:
        once = clean(workshop, [rows], ROW_WISE)
        again = workshop.clean({"f0": once.data}, {"text": "text", "rules": ROW_WISE})
        assert outcome(again) == (outcome(once)[0], [])


def test_a_night_without_new_files_has_the_same_files(workshop: Any) -> None:
    files = {"a": frame([("one", 1.0), ("two", 2.0), ("one", 3.0)])}
    recipe = {"text": "text", "rules": DATA_WIDE}
    first = workshop.clean(files, recipe)
    second = workshop.clean(files, recipe, previous=first)
    assert second.manifest.files == first.manifest.files
    assert second.manifest.statistics == first.manifest.statistics


def test_large_whole_numbers_and_decimals_come_through_unchanged(workshop: Any) -> None:
    rows = pl.DataFrame(
        {
            "big": [2**63 - 1, 2**53 + 1, None],
            "exact": pl.Series(["12345678901234567890.12", None, "0.01"]).str.to_decimal(scale=2),
        }
    )
    rules = [{"iqr_outliers": {"columns": ["big", "exact"], "k": 9}}, {"impute": {"columns": ["big", "exact"]}}]
    cleaned = workshop.clean({"a": rows}, {"rules": rules}).data
    assert cleaned["big"].to_list()[:2] == [2**63 - 1, 2**53 + 1]
    assert cleaned["exact"].to_list()[0] == rows["exact"][0]
    assert cleaned.schema == rows.schema


def test_a_column_that_is_all_null_passes_every_rule_that_needs_no_value(workshop: Any) -> None:
    rows = pl.DataFrame({"text": ["a", "b"], "number": [None, None]})
    cleaned = workshop.clean({"a": rows}, {"text": "text", "rules": DATA_WIDE})
    assert cleaned.data["number"].to_list() == [None, None]
    assert cleaned.manifest.statistics["columns"]["number"] == {"missing": 2}
