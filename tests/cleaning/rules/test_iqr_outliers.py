"""Numbers far outside of the middle half are rejected or clipped."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.rule import RULES
from airflow_dataflow.errors import InvalidInputError

NAN, INF = math.nan, math.inf


def state(lower: float, upper: float) -> dict[str, Any]:
    """Return what the rule knows of the column ``x``."""
    return {"x": {"q1": 0.0, "q3": 0.0, "lower": lower, "upper": upper}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 100], {"q1": 1.75, "q3": 27.25, "lower": -36.5, "upper": 65.5}),
        ([1.0, 2.0, 3.0, 100.0, None, NAN, INF, -INF], {"q1": 1.75, "q3": 27.25, "lower": -36.5, "upper": 65.5}),
        ([5], {"q1": 5.0, "q3": 5.0, "lower": 5.0, "upper": 5.0}),
        ([Decimal("1.5"), Decimal("2.5")], {"q1": 1.75, "q3": 2.25, "lower": 1.0, "upper": 3.0}),
        ([None, None], None),
        ([NAN, INF], None),
        (
            [-1.7e308, 1.7e308],
            {"q1": -8.5e307, "q3": 8.5e307, "lower": -1.7976931348623157e308, "upper": 1.7976931348623157e308},
        ),
    ],
)
def test_fences_follow_from_exact_quartiles_of_finite_values(
    fitted: Callable[..., Any], values: list[Any], expected: Any
) -> None:
    found = fitted("iqr_outliers", pl.DataFrame({"x": values}, strict=False), columns=["x"])
    assert found == {"x": expected if expected is None else pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize(
    ("value", "outlier"),
    [(0.9, True), (1.0, False), (3.0, False), (3.1, True), (None, False), (NAN, False), (INF, True), (-INF, True)],
)
def test_values_beyond_the_fences_are_outliers(verdict: Callable[..., Any], value: Any, outlier: bool) -> None:
    rows = pl.DataFrame({"x": pl.Series([value], dtype=pl.Float64)})
    [(reason, shown)] = verdict("iqr_outliers", rows, state(1, 3), columns=["x"])
    assert reason == ("outlier_x" if outlier else None)
    assert shown == (str(value) if outlier else None)


@pytest.mark.parametrize(
    ("values", "kind", "bounds", "clipped"),
    [
        ([0.0, 2.0, 9.0, None, INF], pl.Float64, (1.5, 3.5), [1.5, 2.0, 3.5, None, 3.5]),
        ([0, 2, 9, None], pl.Int64, (1.5, 3.5), [2, 2, 3, None]),
        ([0, 200], pl.UInt8, (-70.5, 90.5), [0, 90]),
        ([1, 9], pl.Int64, (4.2, 4.8), [5, 5]),
        ([2**60 + 1, 2**62], pl.Int64, (0, 2.0**61), [2**60 + 1, 2**61]),
        ([Decimal("0.01"), Decimal("99.99")], pl.Decimal(10, 2), (0.0, 5.5), [Decimal("0.01"), Decimal("5.50")]),
    ],
)
def test_clipping_moves_outliers_to_the_fence_and_keeps_the_type(
    build: Callable[..., Any], values: list[Any], kind: Any, bounds: tuple[float, float], clipped: list[Any]
) -> None:
    rule = build("iqr_outliers", columns=["x"], action="clip")
    rows, counts = rule.edit(pl.DataFrame({"x": pl.Series(values, dtype=kind)}), state(*bounds))
    assert rows["x"].to_list() == clipped
    assert rows["x"].dtype == kind
    changed = sum(before is not None and before != after for before, after in zip(values, clipped, strict=True))
    assert counts == {("outliers", "x"): changed}
    assert not rule.checks(state(*bounds))


def test_nan_stays_nan_when_others_are_clipped(build: Callable[..., Any]) -> None:
    rule = build("iqr_outliers", columns=["x"], action="clip")
    rows, _ = rule.edit(pl.DataFrame({"x": [NAN, 9.0]}), state(0, 1))
    assert math.isnan(rows["x"][0])


def test_a_column_without_values_has_no_outliers(build: Callable[..., Any]) -> None:
    rule = build("iqr_outliers", columns=["x"])
    rows = pl.DataFrame({"x": pl.Series([None], dtype=pl.Null)})
    assert not rule.checks({"x": None})
    assert rule.edit(rows, {"x": None}) == (rows, {})


def test_only_rows_that_survive_earlier_rules_count(workshop: Any) -> None:
    rows = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 1e9, 1e9, 1e9], "text": ["a"] * 6 + [""] * 3})
    rules = [{"not_null": {"columns": ["text"]}}, {"iqr_outliers": {"columns": ["x"], "k": 1}}]
    cleaned = workshop.clean({"f": rows}, {"rules": rules})
    assert cleaned.data["x"].to_list() == [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
    assert cleaned.manifest.statistics["rules"][1]["state"]["x"]["q3"] == 4.75


def test_outliers_of_every_column_are_counted_and_the_first_is_the_reason(workshop: Any) -> None:
    rows = pl.DataFrame({"x": [*range(10), 999, 5], "y": [*range(10), 999, 999]})
    cleaned = workshop.clean({"f": rows}, {"rules": [{"iqr_outliers": {"columns": ["x", "y"]}}]})
    assert cleaned.reasons == {"f:11": "outlier_x", "f:12": "outlier_y"}
    columns = cleaned.manifest.statistics["columns"]
    assert (columns["x"]["outliers"], columns["y"]["outliers"]) == (1, 2)


@pytest.mark.parametrize("k", [-1, NAN])
def test_a_negative_reach_is_refused(k: float) -> None:
    with pytest.raises(InvalidInputError, match="0 or more"):
        RULES.build("iqr_outliers", {"columns": ["x"], "k": k})


def test_a_text_column_is_refused(workshop: Any) -> None:
    rules = [{"iqr_outliers": {"columns": ["text"]}}]
    with pytest.raises(InvalidInputError, match="column 'text' of raw holds String, but cleaning rule 'iqr_outliers'"):
        workshop.clean({"f": pl.DataFrame({"text": ["a"]})}, {"rules": rules})
