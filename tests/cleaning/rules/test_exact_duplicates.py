"""Documents that occurred before are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.rule import DuplicateRule
from airflow_dataflow.errors import InvalidInputError


def keys(build: Callable[..., Any], *columns: list[str | None]) -> list[bytes | None]:
    """Return the keys of rows with the given columns."""
    names = [f"column_{number}" for number in range(len(columns))]
    rule = build("exact_duplicates", columns=names)
    assert isinstance(rule, DuplicateRule)
    frame = pl.DataFrame(
        {name: pl.Series(values, dtype=pl.String) for name, values in zip(names, columns, strict=True)}
    )
    return rule.keys(frame).to_list()


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("Hello World", "hello\n\n world ", True),
        ("a\u00a0b", "a b", True),
        ("a\u2003\r\nb", " A B", True),
        ("é", "e\u0301", True),
        ("É", "e\u0301", True),
        ("ÄÖ", "äö", True),
        ("", " \n", True),
        ("ab", "a b", False),
        ("1", "\u0661", False),
        ("\ufb01", "fi", False),
        ("a\x00", "a", False),
        ("👍", "👍🏽", False),
        ("straße", "strasse", False),
    ],
)
def test_texts_are_equal_after_normalisation(build: Callable[..., Any], left: str, right: str, equal: bool) -> None:
    first, second = keys(build, [left, right])
    assert (first == second) is equal


def test_keys_never_change() -> None:
    """Signatures are stored beside versions: another key would let every old duplicate in again."""
    import xxhash

    from airflow_dataflow.cleaning.rules.exact_duplicates import ExactDuplicates

    rule = ExactDuplicates(columns=("text",))
    key = rule.keys(pl.DataFrame({"text": ["Hello  World"]})).item()
    assert key == xxhash.xxh3_128_digest(b"hello world") == bytes.fromhex("df8d09e93f874900a99b8775cc15b6c7")


def test_an_absent_text_equals_none(build: Callable[..., Any]) -> None:
    assert keys(build, [None, None]) == [None, None]
    assert keys(build, [None, "a"], [None, None])[0] is None
    assert keys(build, [None, "a"], [None, None])[1] is not None


def test_several_columns_agree_as_a_whole(build: Callable[..., Any]) -> None:
    found = keys(build, ["ab", "a", "AB", "ab"], ["c", "bc", "C ", None])
    assert found[0] == found[2]
    assert len(set(found)) == 3


def test_a_column_of_numbers_is_compared_as_text(build: Callable[..., Any]) -> None:
    rule = build("exact_duplicates", columns=["n"])
    found = rule.keys(pl.DataFrame({"n": [1, 2, 1]})).to_list()
    assert found[0] == found[2] != found[1]


def test_the_first_row_is_kept_and_named(workshop: Any) -> None:
    files = {
        "a": pl.DataFrame({"text": ["one", "two", "One"]}),
        "b": pl.DataFrame({"text": ["three", " TWO", None, None]}),
    }
    cleaned = workshop.clean(files, {"text": "text", "rules": ["exact_duplicates"]})
    assert cleaned.data["text"].to_list() == ["one", "two", "three", None, None]
    said = cleaned.rows("quarantine").select("row_id", "rule", "reason", "value", "duplicate_of").rows()
    assert said == [
        ("a:3", "exact_duplicates", "exact_duplicate", None, "a:1"),
        ("b:2", "exact_duplicates", "exact_duplicate", None, "a:2"),
    ]


def test_only_rows_that_reach_the_rule_are_compared(workshop: Any) -> None:
    files = {"a": pl.DataFrame({"text": ["Spam", "spam"], "n": [None, 1]})}
    rules = [{"not_null": {"columns": ["n"]}}, "exact_duplicates"]
    cleaned = workshop.clean(files, {"text": "text", "rules": rules})
    assert cleaned.data["text"].to_list() == ["spam"]
    assert cleaned.reasons == {"a:1": "missing_n"}


def test_the_same_rule_can_look_twice(workshop: Any) -> None:
    files = {"a": pl.DataFrame({"text": ["x", "y", "z"], "title": ["A", "a", "b"]})}
    rules = ["exact_duplicates", {"exact_duplicates": {"columns": ["title"]}}]
    cleaned = workshop.clean(files, {"text": "text", "rules": rules})
    assert cleaned.reasons == {"a:2": "exact_duplicate"}
    assert [entry.path for entry in cleaned.manifest.files_under("signatures")] == [
        "signatures/exact_duplicates-2/a.parquet",
        "signatures/exact_duplicates/a.parquet",
    ]


def test_it_needs_a_column() -> None:
    from airflow_dataflow.cleaning.rule import RULES
    from airflow_dataflow.recipe import Recipe

    with pytest.raises(InvalidInputError, match="names no 'columns'"):
        RULES.build("exact_duplicates", {}).bind(Recipe())
