"""Missing values are filled in."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dataflow.cleaning.rule import RULES
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.recipe import Recipe

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("strategy", "values", "kind", "expected"),
    [
        ("mean", [1, 2, 6, None], pl.Int64, 3.0),
        ("mean", [0.1] * 10, pl.Float64, 0.1),
        ("mean", [1.0, NAN, INF, 2.0], pl.Float64, 1.5),
        ("mean", [1.7e308, 1.7e308], pl.Float64, 1.7e308),
        ("mean", [None, NAN], pl.Float64, None),
        ("median", [1, 2, 4, 100], pl.Int64, 3.0),
        ("median", [Decimal("1.10"), Decimal("2.30")], pl.Decimal(10, 2), 1.7),
        ("median", [None], pl.Null, None),
        ("most_frequent", ["b", "a", "b", "a", " ", None], pl.String, "a"),
        ("most_frequent", [3, 2, 3], pl.Int8, 3),
        ("most_frequent", [NAN, NAN, INF, INF, 1.5], pl.Float64, 1.5),
        ("most_frequent", [True, False, True], pl.Boolean, True),
        ("most_frequent", [date(2026, 1, 2), None], pl.Date, "2026-01-02"),
        (
            "most_frequent",
            [datetime(2026, 1, 2, 3, tzinfo=UTC)],
            pl.Datetime("us", "UTC"),
            "2026-01-02 03:00:00.000000Z",
        ),
        ("most_frequent", [2**62 + 1], pl.Int64, 2**62 + 1),
        ("most_frequent", [Decimal("12345678901234567890.12")], pl.Decimal(38, 2), "12345678901234567890.12"),
        ("most_frequent", [None, ""], pl.String, None),
    ],
)
def test_what_is_learned(
    fitted: Callable[..., Any], strategy: str, values: list[Any], kind: Any, expected: Any
) -> None:
    rows = pl.DataFrame({"x": pl.Series(values, dtype=kind)})
    assert fitted("impute", rows, columns=["x"], strategy=strategy) == {"x": expected}


@pytest.mark.parametrize(
    ("values", "kind", "known", "filled"),
    [
        ([1.0, None, NAN, INF], pl.Float64, 2.5, [1.0, 2.5, 2.5, INF]),
        ([1, None], pl.Int64, 2.5, [1, 2]),
        ([None, 2**62 + 1], pl.Int64, 0.0, [0, 2**62 + 1]),
        ([None, Decimal("0.01")], pl.Decimal(10, 2), 2.507, [Decimal("2.51"), Decimal("0.01")]),
        ([None, None], pl.Float64, None, [None, None]),
        ([None], pl.Null, None, [None]),
    ],
)
def test_numbers_are_filled_in_the_type_of_the_column(
    build: Callable[..., Any], values: list[Any], kind: Any, known: float | None, filled: list[Any]
) -> None:
    rows, _ = build("impute", columns=["x"]).edit(pl.DataFrame({"x": pl.Series(values, dtype=kind)}), {"x": known})
    assert rows["x"].to_list() == filled
    assert rows["x"].dtype == kind


@pytest.mark.parametrize(
    ("values", "kind", "constant", "filled"),
    [
        (["a", None, "", " \u00a0"], pl.String, "none", ["a", "none", "none", "none"]),
        (["a", None], pl.String, 0, ["a", "0"]),
        ([True, None], pl.Boolean, False, [True, False]),
        ([1, None], pl.UInt8, 255, [1, 255]),
        ([1, None], pl.Int64, 2.0, [1, 2]),
        ([date(2026, 1, 1), None], pl.Date, "1970-01-01", [date(2026, 1, 1), date(1970, 1, 1)]),
        ([None], pl.Datetime("us", "UTC"), "2026-01-02 03:00:00.000000Z", [datetime(2026, 1, 2, 3, tzinfo=UTC)]),
        ([None, None], pl.Null, 7, [7, 7]),
    ],
)
def test_a_constant_fills_any_column(
    build: Callable[..., Any], values: list[Any], kind: Any, constant: Any, filled: list[Any]
) -> None:
    rule = build("impute", columns=["x"], strategy="constant", value=constant)
    rows, counts = rule.edit(pl.DataFrame({"x": pl.Series(values, dtype=kind)}), {"x": constant})
    assert rows["x"].to_list() == filled
    assert counts == {("imputed", "x"): sum(before != after for before, after in zip(values, filled, strict=True))}


@pytest.mark.parametrize(
    ("kind", "constant"), [(pl.UInt8, 256), (pl.Int64, 2.5), (pl.Int64, "many"), (pl.Date, "yesterday")]
)
def test_a_constant_that_does_not_fit_is_refused(build: Callable[..., Any], kind: Any, constant: Any) -> None:
    rule = build("impute", columns=["x"], strategy="constant", value=constant)
    with pytest.raises(InvalidInputError, match="cannot fill column 'x'"):
        rule.edit(pl.DataFrame({"x": pl.Series([None], dtype=kind)}), {"x": constant})


@pytest.mark.parametrize("parameters", [{"strategy": "constant"}, {"value": 3}, {"strategy": "constant", "value": NAN}])
def test_a_value_is_given_with_constant_and_only_then(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="give a finite value with 'constant'"):
        RULES.build("impute", {"columns": ["x"], **parameters}).bind(Recipe())


@settings(deadline=None, max_examples=25)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), seed=st.randoms())
def test_the_mean_depends_neither_on_order_nor_on_batches(values: list[float], seed: Any, workshops: Any) -> None:
    shuffled = list(values)
    seed.shuffle(shuffled)
    rules = [{"impute": {"columns": ["x"], "strategy": "mean"}}]
    with workshops() as workshop:
        states = [
            workshop.clean({"f": pl.DataFrame({"x": rows})}, {"rules": rules}, batch_bytes=size).previous
            for rows, size in ((values, 1), (shuffled, 1 << 20))
        ]
    first, second = ([rule["state"] for rule in state.manifest.statistics["rules"]] for state in states)
    assert first == second


def test_later_rules_see_what_was_filled_in(workshop: Any) -> None:
    rows = pl.DataFrame({"x": [1, None, 3], "text": ["a", "", None]})
    rules = [
        {"impute": {"columns": ["x"]}},
        {"impute": {"columns": ["text"], "strategy": "constant", "value": "empty"}},
        {"not_null": {"columns": ["x", "text"]}},
        {"exact_duplicates": {"columns": ["text"]}},
    ]
    cleaned = workshop.clean({"f": rows}, {"rules": rules})
    assert cleaned.data.rows() == [(1, "a"), (2, "empty")]
    assert cleaned.reasons == {"f:3": "exact_duplicate"}
    assert cleaned.rows("quarantine")["text"].to_list() == [None]


def test_a_mean_of_texts_is_refused(workshop: Any) -> None:
    with pytest.raises(InvalidInputError, match="needs a number column"):
        workshop.clean({"f": pl.DataFrame({"x": ["a"]})}, {"rules": [{"impute": {"columns": ["x"]}}]})
