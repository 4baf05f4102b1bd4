"""Reject rows without a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from airflow_dataflow.cleaning.rule import Check, ColumnsRule, State, missing
from airflow_dataflow.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class NotNull(ColumnsRule):
    """Reject a row whose value is missing in one of the columns: null, NaN, or text of nothing but whitespace.

    Without ``columns`` it looks at the recipe's text and label. The reason is ``missing_<column>``.
    """

    def default_columns(self, recipe: Recipe) -> tuple[str, ...]:
        """Return the recipe's text and label."""
        return tuple(column for column in (recipe.text, recipe.label) if column)

    def measure(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Find where values are missing."""
        return rows.select(missing(column, rows.schema[column]).alias(column) for column in self.columns)

    def checks(self, state: State) -> Sequence[Check]:  # noqa: ARG002 - nothing is fitted
        """Return one check for each column."""
        return [Check(reason=f"missing_{column}", failed=pl.col(column)) for column in self.columns]
