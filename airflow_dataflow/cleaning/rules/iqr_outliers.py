"""Reject or clip numbers far outside of the middle half."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from airflow_dataflow.cleaning.rule import Check, ColumnsRule, Content, Counts, FittedRule, State, number
from airflow_dataflow.engines.engine import Frame
from airflow_dataflow.errors import InvalidInputError

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class IqrOutliers(ColumnsRule, FittedRule):
    """Find numbers below q1 - k (q3 - q1) or above q3 + k (q3 - q1), Tukey's fences (Exploratory Data Analysis, 1977).

    The quartiles q1 and q3 are exact, by linear interpolation, over the finite values of the rows that reach the rule.
    Missing values (null, NaN) are no outliers; infinite ones are.
    """

    k: float = 1.5
    """How many interquartile ranges a value may lie outside of the quartiles; 0 or more."""
    action: Literal["reject", "clip"] = "reject"
    """``reject`` the row, with the reason ``outlier_<column>``, or ``clip`` the value to the nearer fence."""

    def __post_init__(self) -> None:
        if not self.k >= 0:
            raise InvalidInputError(f"cleaning rule 'iqr_outliers' has k {self.k}; it has to be 0 or more")

    @property
    def edits(self) -> tuple[str, ...]:
        """The columns, when values are clipped."""
        return self.columns if self.action == "clip" else ()

    @property
    def content(self) -> Content:
        """Numbers."""
        return "number"

    def fit(self, frame: Frame, columns: Sequence[str]) -> dict[str, Any]:
        """Find the quartiles and the fences."""
        state: dict[str, Any] = {}
        for column, quartiles in frame.quantiles(columns, [0.25, 0.75]).items():
            state[column] = None
            if quartiles is not None:
                low, high = quartiles
                reach = self.k * (high - low)
                state[column] = {"q1": low, "q3": high, "lower": _finite(low - reach), "upper": _finite(high + reach)}
        return state

    def measure(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Take the numbers."""
        return rows.select(number(column) for column in self.columns)

    def checks(self, state: State) -> Sequence[Check]:
        """Compare with the fences."""
        if self.action == "clip":
            return []
        return [
            Check(reason=f"outlier_{column}", failed=_outside(pl.col(column), bounds), measure=column)
            for column, bounds in self._bounds(state)
        ]

    def edit(self, rows: pl.DataFrame, state: State) -> tuple[pl.DataFrame, Counts]:
        """Clip the outliers, or only count them."""
        bounds = self._bounds(state)
        found = rows.select(_outside(number(column), ends).sum().alias(column) for column, ends in bounds)
        counts = {("outliers", column): found.item(0, column) for column, _ in bounds}
        if self.action == "clip":
            rows = rows.with_columns(_clipped(column, rows.schema[column], ends) for column, ends in bounds)
        return rows, counts

    def _bounds(self, state: State) -> list[tuple[str, Bounds]]:
        known = [(column, state[column]) for column in self.columns]
        return [(column, (found["lower"], found["upper"])) for column, found in known if found is not None]


def _finite(bound: float) -> float:
    return max(-sys.float_info.max, min(sys.float_info.max, bound))


def _outside(value: pl.Expr, bounds: Bounds) -> pl.Expr:
    return ((value < bounds[0]) | (value > bounds[1])).fill_null(value=False)


def _clipped(column: str, kind: pl.DataType, bounds: Bounds) -> pl.Expr:
    lower, upper = bounds
    if kind.is_integer():
        # The whole numbers inside of the fences; where there is none, the nearest one.
        lower, upper = math.ceil(lower), max(math.ceil(lower), math.floor(upper))
    value = number(column)
    low, high = (pl.lit(bound).cast(kind, strict=False) for bound in (lower, upper))
    return (
        pl.when(value < bounds[0]).then(low).when(value > bounds[1]).then(high).otherwise(pl.col(column)).alias(column)
    )
