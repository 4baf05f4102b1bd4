"""What is read from a database, or loaded into: a table, or the rows of a query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from airflow_dataflow.errors import InvalidInputError

_MOST_PARTS = 2
_LABEL_LENGTH = 60
_END = re.compile(r"\s*;(\s|;|--[^\n'\"`]*(\n|$)|/\*[^'\"`]*?\*/)*$")
"""Semicolons at the end, and comments behind them; with a quote behind it a semicolon may be part of a text."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table or a query."""

    table: str | None = None
    """Name of the table or view, without quotes, as the database stores it; ``None`` for a query."""
    schema: str | None = None
    """Its schema, in MySQL the database; ``None`` for the connection's own."""
    query: str | None = None
    """One SELECT statement; ``None`` for a table."""

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            raise InvalidInputError("name either a table, as in 'postgresql://connection@/schema.table', or a query")

    @classmethod
    def parse(cls, name: str | None, query: str | None = None) -> Self:
        """Read ``table`` or ``schema.table``, or take a query.

        :raises InvalidInputError: when there is neither, or both.
        """
        if query is not None:
            text = _END.sub("", query).strip()
            if name or not text:
                raise InvalidInputError(
                    "a query replaces the table: leave the path of the URL empty, and the query not"
                )
            return cls(query=text)
        parts = (name or "").split(".")
        if not all(parts) or len(parts) > _MOST_PARTS or "\0" in (name or ""):
            raise InvalidInputError(f"{name!r} names no table: write 'table' or 'schema.table'")
        return cls(table=parts[-1], schema=parts[0] if len(parts) == _MOST_PARTS else None)

    @property
    def label(self) -> str:
        """Name that a person recognises."""
        if self.table is not None:
            return f"{self.schema}.{self.table}" if self.schema else self.table
        text = " ".join((self.query or "").split())
        return text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 1]}…"
