"""What a cleaning rule is.

A rule is a frozen dataclass whose fields are its parameters in a recipe. It *measures* columns of a batch, *decides* by
comparing what it measured with its thresholds, and may *edit* the rows that stay. The three are separate, so that the
measured value lies in the quarantine beside the reason, and a threshold can be judged without measuring again.

Rules see one batch at a time and keep nothing. One that needs to know something of all rows says how to find it:
:class:`FittedRule` finds a small state once, which then stays with the dataset, and :class:`DuplicateRule` makes a
key of each row, which an engine brings together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast

import polars as pl

from airflow_dataflow.engines.engine import Frame
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.recipe import Recipe
from airflow_dataflow.registry import Registry

State = Mapping[str, Any]
"""What a fitted rule knows of all rows, by column, as JSON; empty for any other rule."""

Counts = dict[tuple[str, str], int]
"""What a rule counted in a batch: ``(statistic, column)`` to a number, e.g. ``("outliers", "price")``."""

Content = Literal["any", "text", "number"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One way in which a row fails a rule."""

    reason: str
    """Name of the failure; counted, and written into the quarantine."""
    failed: pl.Expr
    """True where a row fails, computed from what the rule measured; null counts as passed."""
    measure: str | None = None
    """The measured column that the quarantine shows, as text, as ``value``."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Base of all rules."""

    version: ClassVar[int] = 1
    """Raise it when the rule decides or edits differently: datasets cleaned by an older one are then made anew."""
    edits_quarantine: ClassVar[bool] = False
    """Whether :meth:`edit` is also applied to rejected rows before they are written into the quarantine."""

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns that the rule reads."""

    @property
    def edits(self) -> tuple[str, ...]:
        """Columns that :meth:`edit` may change."""
        return ()

    @property
    def content(self) -> Content:
        """What the columns have to hold."""
        return "any"

    def bind(self, recipe: Recipe) -> Self:  # noqa: ARG002 - rules with default columns look
        """Return the rule with the columns that it takes from the recipe when it names none.

        :raises InvalidInputError: when the recipe names none either.
        """
        return self

    def measure(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return what :meth:`checks` compares, one row for each row of ``rows``."""
        return rows

    def checks(self, state: State) -> Sequence[Check]:  # noqa: ARG002 - fitted rules look
        """Return the ways to fail; the first that applies is a row's reason."""
        return ()

    def edit(self, rows: pl.DataFrame, state: State) -> tuple[pl.DataFrame, Counts]:  # noqa: ARG002 - as above
        """Change columns, which keep their types, and count; sees all rows that reach the rule."""
        return rows, {}


class FittedRule(Rule):
    """A rule that has to know something of all rows that reach it, such as a quantile."""

    @abstractmethod
    def fit(self, frame: Frame, columns: Sequence[str]) -> dict[str, Any]:
        """Return the state of ``columns``: what JSON can hold, ``None`` for a column without any value.

        :param frame: the rows that reach the rule, with the columns that it reads.
        """


class DuplicateRule(Rule):
    """A rule that keeps the first of several rows with an equal key."""

    reason: ClassVar[str]
    """Name of the failure."""

    @abstractmethod
    def keys(self, rows: pl.DataFrame) -> pl.Series:
        """Return 16 bytes for each row, the same on every machine and release; null for a row that equals none."""


RULES: Registry[Rule] = Registry("airflow_dataflow.cleaning.rules", "cleaning rule", "airflow_dataflow.rules")


@dataclass(frozen=True, kw_only=True)
class ColumnsRule(Rule):
    """A rule for any number of columns."""

    columns: tuple[str, ...] = ()
    """Columns to look at."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    def bind(self, recipe: Recipe) -> Self:
        """Take the recipe's columns for none."""
        columns = self.columns or self.default_columns(recipe)
        if not columns:
            raise InvalidInputError(f"cleaning rule {name_of(self)!r} names no 'columns'; list at least one")
        return replace(self, columns=tuple(dict.fromkeys(columns)))

    def default_columns(self, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - text rules look
        """Return the columns to take when the rule names none."""
        return ()


@dataclass(frozen=True, kw_only=True)
class TextRule(Rule):
    """A rule for one text column."""

    column: str = ""
    """Column to look at; the recipe's ``text`` when empty."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def content(self) -> Content:
        """Text."""
        return "text"

    def bind(self, recipe: Recipe) -> Self:
        """Take the recipe's text column for none."""
        column = self.column or recipe.text
        if not column:
            raise InvalidInputError(f"cleaning rule {name_of(self)!r} names no 'column', and the recipe has no 'text'")
        return replace(self, column=column)


def name_of(rule: Rule) -> str:
    """Return the name of a rule in recipes: ``text_length`` for ``TextLength``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(rule).__name__).lstrip("_")


def text(column: str) -> pl.Expr:
    """Return a text column; an absent text reads as an empty one."""
    return pl.col(column).cast(pl.String).fill_null("")


def collapse_whitespace(document: pl.Expr) -> pl.Expr:
    """Return a text with one blank for each run of whitespace, and none at its ends."""
    # Single blanks, nearly all of the whitespace, are no match: that is four times as fast as replacing every run.
    return document.str.strip_chars().str.replace_all(r"[^\S ]\s*| \s+", " ")


def number(column: str) -> pl.Expr:
    """Return a numeric column as floats, null where it is missing."""
    return pl.col(column).cast(pl.Float64).fill_nan(None)


def missing(column: str, kind: pl.DataType) -> pl.Expr:
    """Return where a column has no value: null, NaN, or text of nothing but whitespace."""
    value = pl.col(column)
    if kind.is_float():
        return value.is_null() | value.is_nan()
    if kind == pl.String:
        return ~value.str.contains(r"\S").fill_null(value=False)
    return value.is_null()


def judge(measured: pl.DataFrame, checks: Sequence[Check], *, reason: str, value: str) -> pl.DataFrame:
    """Return the reason and the measured value of each row's first failure, null for a row that passes all.

    :param checks: at least one.
    :param reason: name of the column for reasons.
    :param value: name of the column for values.
    """

    def first(outcomes: Iterable[pl.Expr]) -> pl.Expr:
        chain: Any = pl
        for check, outcome in zip(checks, outcomes, strict=True):
            chain = chain.when(check.failed).then(outcome)
        return cast("pl.Expr", chain.otherwise(None).cast(pl.String))

    values = (pl.lit(None) if check.measure is None else pl.col(check.measure).cast(pl.String) for check in checks)
    return measured.select(
        first(pl.lit(check.reason) for check in checks).alias(reason),
        first(values).alias(value),
    )
