"""Statistics of a document that need no vocabulary: lengths, shares of character classes, marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from airflow_dataflow.features import moments
from airflow_dataflow.features.extractor import State, text_of


@dataclass(frozen=True, kw_only=True)
class TextStatistics:
    """Make one number per statistic, in columns ``<column>_<statistic>``.

    A character is a Unicode code point, a word is what white space separates. An empty document has 0 everywhere.
    """

    scheme: ClassVar[str] = "text_statistics/1"

    column: str
    """Text column; the recipe's ``text`` when absent."""
    standardise: bool = True
    """Whether to subtract the mean and divide by the standard deviation of the training rows."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The text column."""
        return (self.column,)

    @property
    def makes(self) -> tuple[str, ...]:
        """One column per statistic."""
        return tuple(f"{self.column}_{name}" for name in _statistics())

    def summarise(self, batch: pl.DataFrame) -> State:
        """Return the moments of each statistic."""
        return moments.summarise(self._measure(batch)) if self.standardise else {}

    def merge(self, summaries: Sequence[State]) -> State:
        """Merge the moments."""
        return moments.merge(summaries) if self.standardise else {}

    def fit(self, summary: State) -> State:
        """Return mean and standard deviation of each statistic."""
        return moments.fit(summary) if self.standardise else {}

    def transform(self, batch: pl.DataFrame, state: State) -> pl.DataFrame:
        """Return the statistics, as measured or standardised."""
        values = self._measure(batch)
        if self.standardise:
            values = moments.scaled(values, state)
        return pl.DataFrame(values, schema=self.makes)

    def _measure(self, batch: pl.DataFrame) -> moments.Matrix:
        # Lazy, so that what several statistics need is counted once.
        frame = text_of(batch, self.column).rename("text").to_frame().lazy()
        values = (value.cast(pl.Float64).alias(name) for name, value in _statistics().items())
        return frame.select(values).collect().to_numpy()


def _statistics() -> dict[str, pl.Expr]:
    text = pl.col("text").str
    characters, words = text.len_chars(), text.count_matches(r"\S+")

    def fraction(pattern: str) -> pl.Expr:
        return text.count_matches(pattern) / pl.max_horizontal(characters, 1)

    return {
        "characters": characters,
        "words": words,
        "mean_word_length": (characters - text.count_matches(r"\s")) / pl.max_horizontal(words, 1),
        "uppercase_fraction": fraction(r"\p{Lu}"),
        "digit_fraction": fraction(r"\p{Nd}"),
        "punctuation_fraction": fraction(r"\p{P}"),
        "non_ascii_fraction": fraction(r"[^\x00-\x7F]"),
        "lines": pl.when(characters > 0).then(text.count_matches("\n", literal=True) + 1).otherwise(0),
        "question_marks": text.count_matches("?", literal=True),
        "exclamation_marks": text.count_matches("!", literal=True),
        "urls": text.count_matches(r"(?i)\bhttps?://|\bwww\."),
    }
