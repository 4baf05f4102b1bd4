"""Reject texts that fail the quality rules of Gopher."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from airflow_dataflow.cleaning.rule import Check, State, TextRule, collapse_whitespace, text
from airflow_dataflow.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class GopherQuality(TextRule):
    """Reject a text that fails one of the quality rules of Rae et al. 2021 (arXiv 2112.11446, appendix A.1.1).

    Where the paper leaves room: words are separated by whitespace, and their mean length counts all their characters;
    lines are those that are not blank; a stop word counts once, written as it is here, between word boundaries. A value
    at its bound passes. ``None`` switches a rule off.
    """

    min_words: int | None = 50
    """Least number of words."""
    max_words: int | None = 100_000
    """Greatest number of words."""
    min_mean_word_chars: float | None = 3.0
    """Least mean length of a word, in characters."""
    max_mean_word_chars: float | None = 10.0
    """Greatest mean length of a word, in characters."""
    max_hashes_per_word: float | None = 0.1
    """Most ``#`` per word."""
    max_ellipses_per_word: float | None = 0.1
    """Most ellipses (``...`` or ``…``) per word."""
    max_bullet_lines_fraction: float | None = 0.9
    """Greatest share of lines that start with a bullet."""
    max_ellipsis_lines_fraction: float | None = 0.3
    """Greatest share of lines that end with an ellipsis."""
    min_alphabetic_words_fraction: float | None = 0.8
    """Least share of words with a letter of any alphabet."""
    min_stop_words: int | None = 2
    """How many of the stop words have to occur."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """The stop words."""
    bullets: tuple[str, ...] = ("•", "-", "*")
    """What a line with a bullet starts with, after whitespace."""

    def __post_init__(self) -> None:
        for name, bound in (("stop_words", "min_stop_words"), ("bullets", "max_bullet_lines_fraction")):
            if not getattr(self, name) or "" in getattr(self, name):
                raise InvalidInputError(
                    f"cleaning rule 'gopher_quality' needs texts in {name!r}; to switch that check off, "
                    f"set {bound!r} to null"
                )

    def measure(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Count words, lines and symbols, and relate them."""
        bullets = "|".join(re.escape(bullet) for bullet in self.bullets)
        texts = rows.select(text(self.column).alias("text"))
        texts = texts.with_columns(collapse_whitespace(pl.col("text")).alias("flat"))
        counts = texts.select(
            pl.when(pl.col("flat") == "")
            .then(0)
            .otherwise(pl.col("flat").str.count_matches(" ", literal=True) + 1)
            .alias("words"),
            pl.col("flat").str.len_chars().alias("flat_chars"),
            pl.col("flat").str.count_matches(r"\p{L}[^ ]*").alias("alphabetic_words"),
            pl.col("text").str.count_matches(r"\S.*").alias("lines"),
            pl.col("text").str.count_matches(rf"(?m)^\s*(?:{bullets})").alias("bullet_lines"),
            pl.col("text").str.count_matches(r"(?m)(?:\.\.\.|…)\s*$").alias("ellipsis_lines"),
            pl.col("text").str.count_matches("#", literal=True).alias("hashes"),
            pl.col("text").str.count_matches(r"\.\.\.|…").alias("ellipses"),
            pl.sum_horizontal(pl.col("text").str.contains(rf"\b{re.escape(word)}\b") for word in self.stop_words).alias(
                "stop_words"
            ),
        )
        # An empty text has no words to divide by; all its shares are 0.
        words, lines = pl.col("words").clip(1), pl.col("lines").clip(1)
        return counts.select(
            "words",
            "stop_words",
            mean_word_chars=(pl.col("flat_chars") + 1 - words) / words,
            hashes_per_word=pl.col("hashes") / words,
            ellipses_per_word=pl.col("ellipses") / words,
            bullet_lines_fraction=pl.col("bullet_lines") / lines,
            ellipsis_lines_fraction=pl.col("ellipsis_lines") / lines,
            alphabetic_words_fraction=pl.col("alphabetic_words") / words,
        )

    def checks(self, state: State) -> Sequence[Check]:  # noqa: ARG002 - nothing is fitted
        """Compare with the thresholds."""
        return [
            *_at_least("gopher_too_few_words", "words", self.min_words),
            *_at_most("gopher_too_many_words", "words", self.max_words),
            *_at_least("gopher_words_too_short", "mean_word_chars", self.min_mean_word_chars),
            *_at_most("gopher_words_too_long", "mean_word_chars", self.max_mean_word_chars),
            *_at_most("gopher_too_many_hashes", "hashes_per_word", self.max_hashes_per_word),
            *_at_most("gopher_too_many_ellipses", "ellipses_per_word", self.max_ellipses_per_word),
            *_at_most("gopher_too_many_bullet_lines", "bullet_lines_fraction", self.max_bullet_lines_fraction),
            *_at_most("gopher_too_many_ellipsis_lines", "ellipsis_lines_fraction", self.max_ellipsis_lines_fraction),
            *_at_least(
                "gopher_too_few_alphabetic_words", "alphabetic_words_fraction", self.min_alphabetic_words_fraction
            ),
            *_at_least("gopher_too_few_stop_words", "stop_words", self.min_stop_words),
        ]


def _at_least(reason: str, measure: str, bound: float | None) -> list[Check]:
    return [] if bound is None else [Check(reason=reason, failed=pl.col(measure) < bound, measure=measure)]


def _at_most(reason: str, measure: str, bound: float | None) -> list[Check]:
    return [] if bound is None else [Check(reason=reason, failed=pl.col(measure) > bound, measure=measure)]
