"""Fill missing values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from airflow_dataflow.cleaning.rule import ColumnsRule, Content, Counts, FittedRule, State, missing, number
from airflow_dataflow.engines.engine import Frame
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Impute(ColumnsRule, FittedRule):
    """Fill values that are missing: null, NaN, or text of nothing but whitespace.

    A column keeps its type: a mean is rounded to the nearest whole number in a column of whole numbers.
    """

    strategy: Literal["mean", "median", "most_frequent", "constant"] = "median"
    """What to fill in, over the finite values of the rows that reach the rule; of equally frequent ones the least."""
    value: bool | int | float | str | None = None
    """What ``constant`` fills in."""

    @property
    def edits(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    @property
    def content(self) -> Content:
        """Numbers, where there is something to compute."""
        return "number" if self.strategy in ("mean", "median") else "any"

    def bind(self, recipe: Recipe) -> Impute:
        """Check that there is a value exactly when it is needed."""
        wanted = self.strategy == "constant"
        if wanted != (self.value is not None) or (isinstance(self.value, float) and not math.isfinite(self.value)):
            raise InvalidInputError(
                f"cleaning rule 'impute' has strategy {self.strategy!r} and value {self.value!r}: "
                "give a finite value with 'constant', and only then"
            )
        return super().bind(recipe)

    def fit(self, frame: Frame, columns: Sequence[str]) -> dict[str, Any]:
        """Find the value of each column."""
        if self.strategy == "constant":
            return dict.fromkeys(columns, self.value)
        if self.strategy == "median":
            medians = frame.quantiles(columns, [0.5])
            return {column: None if found is None else found[0] for column, found in medians.items()}
        find = _mean if self.strategy == "mean" else _most_frequent
        return {column: find(frame, column) for column in columns}

    def edit(self, rows: pl.DataFrame, state: State) -> tuple[pl.DataFrame, Counts]:
        """Fill in the values, and count them."""
        known = {column: state[column] for column in self.columns if state[column] is not None}
        gaps = rows.select(missing(column, rows.schema[column]).alias(column) for column in known)
        counts = {("imputed", column): int(gaps[column].sum()) for column in known}
        filled = []
        for column, value in known.items():
            kind = rows.schema[column]
            whole = kind.is_integer() and self.content == "number"
            fill = _as_column(column, round(value) if whole else value, kind)
            filled.append(pl.when(gaps[column]).then(pl.lit(fill).first()).otherwise(pl.col(column)).alias(column))
        return rows.with_columns(filled), counts


def _mean(frame: Frame, column: str) -> float | None:
    values = frame.map_batches(lambda rows: rows.select(number(column))).collect()[column]
    finite = values.filter(values.is_finite()).to_list()
    if not finite:
        return None
    try:
        # Rounded once, so that the order of rows and the size of batches do not matter.
        return math.fsum(finite) / len(finite)
    except OverflowError:
        return math.fsum(value / len(finite) for value in finite)


def _most_frequent(frame: Frame, column: str) -> Any:
    def count(rows: pl.DataFrame) -> pl.DataFrame:
        kind = rows.schema[column]
        wanted = pl.col(column).is_finite() if kind.is_float() else ~missing(column, kind)
        values = rows.filter(wanted).select(pl.col(column).alias("value"))
        return values.group_by("value").len("count")

    counts = frame.map_batches(count).collect().group_by("value").agg(pl.col("count").sum())
    if counts.is_empty():
        return None
    value = counts.sort(["count", "value"], descending=[True, False])["value"].head(1)
    if value.dtype.is_integer() or value.dtype.is_float() or value.dtype == pl.Boolean:
        return value.item()
    return value.to_arrow().cast(pa.string())[0].as_py()


def _as_column(column: str, value: Any, kind: pl.DataType) -> pl.Series:
    """Return a value as a column of type ``kind`` has it; Arrow's casts refuse to change it."""
    if kind == pl.Null:
        return pl.Series(column, [value])
    target = pl.Series([], dtype=kind).to_arrow(compat_level=pl.CompatLevel.oldest()).type
    try:
        return pl.Series(column, pa.array([value]).cast(target))
    except pa.ArrowException as error:
        raise InvalidInputError(
            f"cleaning rule 'impute' cannot fill column {column!r} of type {kind} with {value!r}; "
            "give a value of that type"
        ) from error
