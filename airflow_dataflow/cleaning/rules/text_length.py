"""Reject texts that are too short or too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from airflow_dataflow.cleaning.rule import Check, State, TextRule, text


@dataclass(frozen=True, kw_only=True)
class TextLength(TextRule):
    """Reject a text outside of a range of lengths."""

    min_chars: int | None = 1
    """Least number of characters (Unicode code points); ``None`` for any."""
    max_chars: int | None = None
    """Greatest number of characters; ``None`` for any."""

    def measure(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Count characters."""
        return rows.select(text(self.column).str.len_chars().alias("chars"))

    def checks(self, state: State) -> Sequence[Check]:  # noqa: ARG002 - nothing is fitted
        """Compare with both ends."""
        chars = pl.col("chars")
        found = []
        if self.min_chars is not None:
            found.append(Check(reason="text_too_short", failed=chars < self.min_chars, measure="chars"))
        if self.max_chars is not None:
            found.append(Check(reason="text_too_long", failed=chars > self.max_chars, measure="chars"))
        return found
