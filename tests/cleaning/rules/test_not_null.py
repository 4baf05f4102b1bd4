"""Rows without a value are rejected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.rule import RULES
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.recipe import Recipe


@pytest.mark.parametrize(
    ("value", "kind", "missing"),
    [
        (None, pl.String, True),
        ("", pl.String, True),
        (" \t\r\n", pl.String, True),
        ("\u00a0\u2003\u3000", pl.String, True),
        ("\x00", pl.String, False),
        ("0", pl.String, False),
        ("👍", pl.String, False),
        (None, pl.Int64, True),
        (0, pl.Int64, False),
        (None, pl.Float64, True),
        (math.nan, pl.Float64, True),
        (math.inf, pl.Float64, False),
        (False, pl.Boolean, False),
        (None, pl.Null, True),
        ([], pl.List(pl.Int64), False),
    ],
)
def test_missing_is_null_nan_or_blank(verdict: Callable[..., Any], value: Any, kind: Any, missing: bool) -> None:
    rows = pl.DataFrame({"x": pl.Series([value], dtype=kind)})
    reason = "missing_x" if missing else None
    assert verdict("not_null", rows, {}, columns=["x"]) == [(reason, None)]


def test_the_first_missing_column_is_the_reason(verdict: Callable[..., Any]) -> None:
    rows = pl.DataFrame({"a": [None, "a", None], "b": [None, None, 1]})
    reasons = [reason for reason, _ in verdict("not_null", rows, {}, columns=["b", "a"])]
    assert reasons == ["missing_b", "missing_b", "missing_a"]


def test_without_columns_it_looks_at_text_and_label() -> None:
    rule = RULES.build("not_null", {})
    assert rule.bind(Recipe(text="body", label="intent")).reads == ("body", "intent")
    assert rule.bind(Recipe(text="body")).reads == ("body",)
    with pytest.raises(InvalidInputError, match="names no 'columns'"):
        rule.bind(Recipe())
