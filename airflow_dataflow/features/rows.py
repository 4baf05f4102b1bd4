"""The kernels of feature extraction: name each row, judge its label, find its side, and deal it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from airflow_dataflow.engines.engine import FILE, ORDER, ROW
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.features.labels import canonical
from airflow_dataflow.features.pipeline import FittedPipeline, Pipeline, require_columns
from airflow_dataflow.features.split import SIDES, row_keys, split_of
from airflow_dataflow.recipe import Recipe

MISSING_LABEL = "missing_label"
QUARANTINE = "quarantine"
FOLDERS = {side: f"data/{side}" for side in SIDES}


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """What becomes of the rows of some files."""

    recipe: Recipe
    """The recipe."""
    numeric_label: bool
    """Whether the label is a number in all files; then ``label_value`` is kept beside its text."""
    stems: tuple[str, ...] = ()
    """Names of the files, in the order of the scan; with its number, from 1, they name a row that has no id."""

    def needed(self, pipeline: Pipeline) -> list[str] | None:
        """Return the columns that :meth:`training` and fitting read, ``None`` for all."""
        if self.recipe.text is None:  # the split may depend on the whole row
            return None
        return [name for name in (self.recipe.id, self.recipe.text, self.recipe.label, *pipeline.reads) if name]

    def training(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return the rows to fit on: those that have a label and stand on the training side."""
        rows = batch.filter(canonical(batch[self.recipe.label]).is_not_null()) if self.recipe.label else batch
        return rows.filter(self._sides(rows) == SIDES[0])

    def deal(self, batch: pl.DataFrame, fitted: FittedPipeline) -> Mapping[str, pl.DataFrame]:
        """Return the features of each side, and the rows that lack a label."""
        named = self._named(batch)
        keep = named["label" if self.recipe.label else "row_id"].is_not_null()
        rows = batch.filter(keep)
        features = named.filter(keep).hstack(fitted.transform(rows))
        sides = self._sides(rows)
        dealt = {folder: features.filter(sides == side) for side, folder in FOLDERS.items()}
        return dealt | {QUARANTINE: self._rejected(batch.filter(~keep), named.filter(~keep)["row_id"])}

    def _sides(self, batch: pl.DataFrame) -> pl.Series:
        return split_of(row_keys(batch, self.recipe), self.recipe.split)

    def _named(self, batch: pl.DataFrame) -> pl.DataFrame:
        ids = pl.Series(self.stems, dtype=pl.String).gather(batch[FILE]) + ":" + (batch[ROW] + 1).cast(pl.String)
        if self.recipe.id:
            own = canonical(batch[self.recipe.id])
            ids = own.zip_with(own.is_not_null(), ids)
        columns = {"row_id": ids}
        if self.recipe.label:
            columns["label"] = canonical(batch[self.recipe.label])
            if self.numeric_label:
                columns["label_value"] = batch[self.recipe.label].cast(pl.Float64)
        return pl.DataFrame(columns)

    def _rejected(self, batch: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
        label = pl.col(self.recipe.label) if self.recipe.label else pl.lit(None)
        return batch.drop(ORDER).with_columns(
            ids.alias("row_id"),
            pl.lit(MISSING_LABEL).alias("rule"),
            pl.lit(MISSING_LABEL).alias("reason"),
            label.cast(pl.Float64, strict=False).alias("value"),
            pl.lit(None, pl.String).alias("duplicate_of"),
        )


def plan_rows(recipe: Recipe, pipeline: Pipeline, schema: pa.Schema, where: str) -> RowPlan:
    """Check a recipe against the columns of a source, before any row is read.

    :param schema: the columns of all files.
    :param where: what has these columns, for messages.
    :raises MissingColumnError: when a column that the recipe names is not there.
    :raises InvalidInputError: when the label would be a feature, or a feature would hide a column of our own.
    """
    named = [column for column in (recipe.id, recipe.text, recipe.label) if column]
    require_columns([*named, *pipeline.reads], schema.names, where)
    if recipe.label in pipeline.reads:
        raise InvalidInputError(
            f"column {recipe.label!r} is the label and an extractor reads it; a model would learn from its own answer"
        )
    kind = schema.field(recipe.label).type if recipe.label else pa.null()
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    for column in ("row_id", "label", "label_value"):
        if column in pipeline.makes:
            raise InvalidInputError(f"an extractor makes a column {column!r}, which feature files already have")
    return RowPlan(recipe=recipe, numeric_label=numeric)
