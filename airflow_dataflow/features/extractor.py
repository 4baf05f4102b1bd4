"""What an extractor is: columns in, columns out, a batch at a time, with a state fitted on the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.registry import Registry

State = dict[str, np.ndarray[Any, Any]]
"""Named arrays of one dimension: a summary of some rows, or what was fitted from the summary of all."""


class Extractor(Protocol):
    """Makes feature columns; a frozen dataclass whose fields are its parameters in a recipe.

    Fitting is a reduction, so that any engine can do it: :meth:`summarise` each batch of training rows, :meth:`merge`
    the summaries in any grouping, :meth:`fit` once. An extractor that has nothing to fit returns empty states.
    """

    scheme: ClassVar[str]
    """Names what state and output mean; a stored state of another scheme is refused."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads."""

    @property
    def makes(self) -> tuple[str, ...]:
        """Columns that it makes."""

    def summarise(self, batch: pl.DataFrame) -> State:
        """Return what fitting needs to know of a batch."""

    def merge(self, summaries: Sequence[State]) -> State:
        """Return the summary of all rows of ``summaries``, of which there is at least one."""

    def fit(self, summary: State) -> State:
        """Return the state, given the summary of all training rows."""

    def transform(self, batch: pl.DataFrame, state: State) -> pl.DataFrame:
        """Return the columns that :attr:`makes` names, one row for each row of ``batch``, without nulls."""


EXTRACTORS: Registry[Extractor] = Registry(
    "airflow_dataflow.features.extractors", "feature extractor", "airflow_dataflow.extractors"
)


def text_of(batch: pl.DataFrame, column: str) -> pl.Series:
    """Return a text column; an absent text reads as an empty one.

    :raises InvalidInputError: when the column holds no text.
    """
    series = batch[column]
    if not isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        raise InvalidInputError(
            f"column {column!r} holds {series.dtype}, not text; name a text column in 'text' of the recipe "
            "or in 'column' of the extractor"
        )
    return series.cast(pl.String).fill_null("")


def numbers_of(batch: pl.DataFrame, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return numeric columns as a matrix of rows and columns, with NaN where a value is missing.

    :raises InvalidInputError: when a column holds no numbers.
    """
    for column in columns:
        dtype = batch.schema[column]
        if not (dtype.is_numeric() or isinstance(dtype, pl.Boolean | pl.Null)):
            raise InvalidInputError(
                f"column {column!r} holds {dtype}, not numbers; leave it out of 'columns' of the extractor, "
                "or convert it before cleaning"
            )
    return batch.select(pl.col(columns).cast(pl.Float64)).to_numpy().astype(np.float64, copy=False)
