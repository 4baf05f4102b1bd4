"""Texts that are too short or too long are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.rule import RULES
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.recipe import Recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("text_too_short", "1")),
        ("ab", (None, None)),
        ("abc", (None, None)),
        ("abcd", ("text_too_long", "4")),
        ("", ("text_too_short", "0")),
        (None, ("text_too_short", "0")),
        ("👍é", (None, None)),
        ("\x00\u00a0", (None, None)),
    ],
)
def test_bounds_count_characters_and_are_inclusive(
    verdict: Callable[..., Any], text: str | None, expected: tuple[str | None, str | None]
) -> None:
    rows = pl.DataFrame({"text": pl.Series([text], dtype=pl.String)})
    assert verdict("text_length", rows, {}, min_chars=2, max_chars=3) == [expected]


def test_a_bound_of_none_is_no_bound(verdict: Callable[..., Any]) -> None:
    rows = pl.DataFrame({"text": ["", "x" * 9]})
    assert verdict("text_length", rows, {}, min_chars=None, max_chars=8) == [(None, None), ("text_too_long", "9")]
    assert verdict("text_length", rows, {}) == [("text_too_short", "0"), (None, None)]


def test_without_any_bound_nothing_is_checked() -> None:
    rule = RULES.build("text_length", {"min_chars": None, "column": "text"})
    assert not rule.checks({})


def test_it_needs_a_text_column() -> None:
    with pytest.raises(InvalidInputError, match="'text_length' names no 'column'"):
        RULES.build("text_length", {}).bind(Recipe())
