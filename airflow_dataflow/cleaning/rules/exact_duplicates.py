"""Reject documents that occurred before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl
import xxhash

from airflow_dataflow.cleaning.rule import ColumnsRule, Content, DuplicateRule, collapse_whitespace
from airflow_dataflow.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ExactDuplicates(ColumnsRule, DuplicateRule):
    """Keep the first of the rows that have the same text after normalisation, here and in what was cleaned before.

    Normalised means Unicode NFC, lower case, and one blank for each run of whitespace. Without ``columns`` it compares
    the recipe's text; with several, all of them have to agree. A row without any text is no duplicate.
    """

    reason: ClassVar[str] = "exact_duplicate"

    @property
    def content(self) -> Content:
        """Text."""
        return "text"

    def default_columns(self, recipe: Recipe) -> tuple[str, ...]:
        """Return the recipe's text."""
        return (recipe.text,) if recipe.text else ()

    def keys(self, rows: pl.DataFrame) -> pl.Series:
        """Return the XXH3-128 of the normalised texts."""
        texts = [normalised(rows[column].cast(pl.String)) for column in self.columns]
        if len(texts) > 1:
            # A length before each text keeps ("ab", "c") apart from ("a", "bc").
            lengths = (series.str.len_bytes().cast(pl.String) for series in texts)
            parts = [part for pair in zip(lengths, texts, strict=True) for part in pair]
            joined = pl.select(pl.concat_str(parts, separator=":", ignore_nulls=True)).to_series()
            absent = pl.select(pl.all_horizontal(series.is_null() for series in texts)).to_series()
            texts = [joined.set(absent, None)]
        digest = xxhash.xxh3_128_digest
        return pl.Series([None if key is None else digest(key) for key in texts[0].cast(pl.Binary)], dtype=pl.Binary)


def normalised(texts: pl.Series) -> pl.Series:
    """Return texts in NFC and lower case with single blanks, by which duplicates are found."""
    # Composing is slow, and changes nothing in ASCII.
    other = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if len(other):
        texts = texts.clone().scatter(other, texts.gather(other).str.normalize("NFC"))
    return pl.select(collapse_whitespace(pl.lit(texts).str.to_lowercase())).to_series()
