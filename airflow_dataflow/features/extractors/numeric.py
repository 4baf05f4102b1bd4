"""Numeric columns brought to a common scale, with missing values filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from airflow_dataflow.features import moments
from airflow_dataflow.features.extractor import State, numbers_of

_LARGEST = 1e150
"""Beyond it squares leave the range of float64; such values, infinities and NaN count as missing."""


@dataclass(frozen=True, kw_only=True)
class Numeric:
    """Scale numeric columns, under their own names; a missing value becomes the centre, which is 0 after scaling."""

    scheme: ClassVar[str] = "numeric/1"

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    """Numeric or true/false columns."""
    scaling: Literal["standard", "robust"] = "standard"
    """``standard``: minus the mean, divided by the standard deviation. ``robust``: minus the median, divided by the
    distance between the quartiles; outliers do not move it. Fitting ``robust`` is exact and holds the columns of the
    training rows in memory (8 bytes per value)."""
    missing_indicator: bool = False
    """Whether to add ``<column>_missing``, 1 where the value was missing and 0 elsewhere."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The numeric columns."""
        return self.columns

    @property
    def makes(self) -> tuple[str, ...]:
        """The numeric columns, and their indicators if wanted."""
        indicators = tuple(f"{column}_missing" for column in self.columns) if self.missing_indicator else ()
        return self.columns + indicators

    def summarise(self, batch: pl.DataFrame) -> State:
        """Return the moments of each column, or its values if quartiles are wanted."""
        values = self._measure(batch)
        if self.scaling == "standard":
            return moments.summarise(values)
        return {name: column[~np.isnan(column)] for name, column in zip(self.columns, values.T, strict=True)}

    def merge(self, summaries: Sequence[State]) -> State:
        """Merge the moments, or put the values together."""
        if self.scaling == "standard":
            return moments.merge(summaries)
        return {name: np.concatenate([summary[name] for summary in summaries]) for name in self.columns}

    def fit(self, summary: State) -> State:
        """Return centre and scale of each column."""
        if self.scaling == "standard":
            return moments.fit(summary)
        quartiles = np.array([_quartiles(summary[name]) for name in self.columns])
        return moments.state_of(quartiles[:, 1], quartiles[:, 2] - quartiles[:, 0])

    def transform(self, batch: pl.DataFrame, state: State) -> pl.DataFrame:
        """Return the scaled columns, and their indicators if wanted."""
        values = self._measure(batch)
        missing = np.isnan(values)
        columns = [np.where(missing, 0.0, moments.scaled(values, state))]
        if self.missing_indicator:
            columns.append(missing.astype(np.float64))
        return pl.DataFrame(np.hstack(columns), schema=self.makes)

    def _measure(self, batch: pl.DataFrame) -> moments.Matrix:
        values = numbers_of(batch, self.columns)
        return np.where(np.abs(values) <= _LARGEST, values, np.nan)


def _quartiles(values: moments.Matrix) -> moments.Matrix:
    return np.quantile(values, [0.25, 0.5, 0.75]) if len(values) else np.zeros(3)
