"""The rules of a recipe in running order, and the kernels that take a batch through them.

A row goes through the rules in order until one rejects it. Most rules need nothing but the row. Before one that has to
know all rows that reach it, a *look* runs: a pass over only the columns that matter, which takes the rows there and
brings back what the rule asks for, and which rows were rejected on the way. The last pass, the *deal*, knows all
decisions of the looks, makes those that are left, edits, and deals the rows out to data and quarantine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from airflow_dataflow.cleaning.rule import RULES, DuplicateRule, Rule, State, judge, missing
from airflow_dataflow.datasets.manifest import fingerprint_of
from airflow_dataflow.engines.engine import FILE, ORDER, ROW, SUMMARY
from airflow_dataflow.errors import InvalidInputError, MissingColumnError, did_you_mean
from airflow_dataflow.recipe import Recipe

CODE_VERSION = 1
"""Raise it when the same rules clean differently; datasets cleaned by older code are then made anew."""

STEP = "__step"
REASON = "__reason"
VALUE = "__value"
DUPLICATE_OF = "__duplicate_of"
KEY = "__key"
ROW_ID = "__row_id"
SIGNATURE = {KEY: "key", ROW_ID: "row_id"}
"""What is stored of a row that a rule about duplicates keeps: its key, and its name to point to."""
DECISION = {STEP: pl.UInt16(), REASON: pl.String(), VALUE: pl.String(), DUPLICATE_OF: pl.String()}
"""What is known of a rejected row: number of the step, reason, measured value, and the row that it repeats."""

NO_DECISIONS = pl.DataFrame(schema={FILE: pl.UInt32(), ROW: pl.UInt32(), **DECISION})

QUARANTINE_COLUMNS = ("row_id", "rule", "reason", "value", "duplicate_of")
"""What the quarantine says of a row, beside all its columns."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rule at its place in a recipe."""

    index: int
    """Its place, from 0."""
    key: str
    """Its name in statistics: that of the rule, with a number when the recipe has it several times."""
    name: str
    """Name of the rule."""
    rule: Rule
    """The rule, with all its columns."""
    state: State = field(default_factory=dict)
    """What a fitted rule knows of all rows."""


def steps_of(recipe: Recipe) -> tuple[Step, ...]:
    """Build the rules of a recipe.

    :raises InvalidInputError: for an unknown rule or parameter, with a spelling hint.
    """
    steps: list[Step] = []
    for index, item in enumerate(recipe.rules):
        again = sum(step.name == item.name for step in steps)
        key = f"{item.name}-{again + 1}" if again else item.name
        rule = RULES.build(item.name, item.parameters).bind(recipe)
        steps.append(Step(index=index, key=key, name=item.name, rule=rule))
    return tuple(steps)


def fingerprint_of_steps(steps: Sequence[Step], recipe: Recipe) -> str:
    """Return the SHA-256 of all that decides what happens to a row: rules, parameters and code, not the state."""
    rules = [[step.name, step.rule.version, parameters_of(step.rule)] for step in steps]
    return fingerprint_of({"code": CODE_VERSION, "id": recipe.id, "rules": rules})


def parameters_of(rule: Rule) -> dict[str, Any]:
    """Return the parameters of a rule, defaults included."""
    return dataclasses.asdict(rule)


def check_columns(steps: Sequence[Step], recipe: Recipe, schema: Mapping[str, pl.DataType], where: str) -> None:
    """Check that the data has what the rules read.

    :param schema: the columns of the data.
    :param where: what to call the data in messages.
    :raises MissingColumnError: when a column is not there.
    :raises InvalidInputError: when it holds something else than a rule can use.
    """
    wanted = [
        (column, f"cleaning rule {step.name!r}", step.rule.content) for step in steps for column in step.rule.reads
    ]
    if recipe.id is not None:
        wanted.append((recipe.id, "the recipe's 'id'", "any"))
    for column, who, content in wanted:
        if column not in schema:
            raise MissingColumnError(f"no column {column!r} in {where}, needed by {who}{did_you_mean(column, schema)}")
        kind = schema[column]
        numeric = kind.is_numeric() or kind == pl.Null
        if (content == "number" and not numeric) or (content == "text" and (kind.is_nested() or kind == pl.Binary)):
            raise InvalidInputError(
                f"column {column!r} of {where} holds {kind}, but {who} needs a {content} column; "
                "take it out of the rule, or convert it before cleaning"
            )
    reserved = {ROW_ID, KEY, *DECISION} & set(schema)
    if reserved:
        raise InvalidInputError(f"columns {sorted(reserved)} of {where} have reserved names; rename them")


def columns_for(steps: Sequence[Step], decided: int, target: Step, recipe: Recipe) -> tuple[list[str], list[Step]]:
    """Return the columns that a look at ``target`` reads, and which of the steps before it that look has to take.

    :param steps: the steps before ``target``.
    :param decided: how many of them have judged all rows; those matter only if they edit a column that is read.
    """
    wanted = list(target.rule.reads)
    if isinstance(target.rule, DuplicateRule) and recipe.id is not None:
        wanted.append(recipe.id)
    taken = []
    for step in reversed(steps):
        if step.index >= decided or set(step.rule.edits) & set(wanted):
            wanted += step.rule.reads
            taken.append(step)
    return list(dict.fromkeys(wanted)), taken[::-1]


@dataclass(frozen=True, kw_only=True)
class RowIds:
    """Names rows: by the recipe's id, or by file and row number (from 1) where there is none."""

    column: str | None
    """Column of the id."""
    stems: tuple[str, ...]
    """Names of the files."""

    def __call__(self, rows: pl.DataFrame) -> pl.Series:
        """Return the name of each row."""
        stem = self.stems[rows.item(0, FILE)] if len(rows) else ""
        place = pl.format("{}:{}", pl.lit(stem), pl.col(ROW) + 1)
        name = place if self.column is None else pl.coalesce(pl.col(self.column).cast(pl.String), place)
        return rows.select(name.alias(ROW_ID)).to_series()


@dataclass(frozen=True, kw_only=True)
class Look:
    """Kernel of a look: rows as they reach a rule, with what it asks for, and those rejected on the way."""

    steps: tuple[Step, ...]
    """Steps to take before it."""
    decided: int
    """Index of the first step that has not yet judged these rows."""
    target: Step
    """The rule's step."""
    row_ids: RowIds
    """Names rows, for a rule about duplicates."""

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Take a batch to the rule."""
        rejected = [NO_DECISIONS.drop(DUPLICATE_OF)]
        for step in self.steps:
            edited, _ = step.rule.edit(rows, step.state)
            if step.index >= self.decided:
                decisions = _decide(step, rows)
                rejected.append(decisions)
                edited = edited.join(decisions, on=ROW, how="anti", maintain_order="left") if len(decisions) else edited
            rows = edited
        rule = self.target.rule
        if isinstance(rule, DuplicateRule):
            facts = rows.select(*ORDER, rule.keys(rows).alias(KEY), self.row_ids(rows))
        else:
            facts = rows.select(*ORDER, *rule.reads)
        return pl.concat([facts, *rejected], how="diagonal")


@dataclass(frozen=True, kw_only=True)
class Deal:
    """Split of the last pass: rows that are kept to ``data``, the others to ``quarantine``, and counts.

    Its batches carry the decisions of the looks, null where a row has none.
    """

    steps: tuple[Step, ...]
    """All steps."""
    decided: int
    """Index of the first step that has not yet judged the rows."""
    row_ids: RowIds
    """Names rows."""

    def __call__(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Deal out a batch."""
        decisions = [rows.filter(pl.col(STEP).is_not_null()).select(*ORDER, *DECISION)]
        counts: list[tuple[int | None, str, str, int]] = []
        kept = rows
        for step in self.steps:
            edited, found = step.rule.edit(kept, step.state)
            counts += [(step.index, statistic, column, count) for (statistic, column), count in found.items()]
            new = kept.filter(pl.col(STEP) == step.index) if step.index < self.decided else _decide(step, kept)
            if step.index >= self.decided:
                decisions.append(new)
            kept = edited.join(new, on=ROW, how="anti", maintain_order="left") if len(new) else edited
        source = rows.drop(DECISION)
        rejected = pl.concat(decisions, how="diagonal")
        for index, reason, count in rejected.group_by(STEP, REASON).len().sort(STEP, REASON).iter_rows():
            counts.append((index, "rejected", reason, count))
        counts += [(None, "rows", "in", len(rows)), (None, "rows", "out", len(kept))]
        counts += [(None, "missing", column, count) for column, count in _missing(source).items()]
        return {
            "data": kept.drop(DECISION),
            "quarantine": self._quarantine(source, rejected),
            SUMMARY: _summary(rows.item(0, FILE), counts),
        }

    def _quarantine(self, source: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
        rows = source.join(rejected.drop(FILE), on=ROW, how="inner", maintain_order="left")
        row_ids = self.row_ids(rows)
        for step in self.steps:
            if step.rule.edits_quarantine:
                rows, _ = step.rule.edit(rows, step.state)
        names = pl.Series([step.name for step in self.steps], dtype=pl.String)
        said = rows.select(
            row_ids.alias("row_id"),
            names.gather(rows[STEP]).alias("rule"),
            pl.col(REASON).alias("reason"),
            pl.col(VALUE).alias("value"),
            pl.col(DUPLICATE_OF).alias("duplicate_of"),
        )
        return rows.drop(DECISION).rename(names_beside(QUARANTINE_COLUMNS, rows.columns)).hstack(said)


def _decide(step: Step, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the decisions of a step about a batch: one row for each row that it rejects."""
    checks = step.rule.checks(step.state)
    if not checks:
        return NO_DECISIONS.drop(DUPLICATE_OF)
    verdict = judge(step.rule.measure(rows), checks, reason=REASON, value=VALUE)
    number = pl.lit(step.index, DECISION[STEP]).alias(STEP)
    return rows.select(ORDER).hstack(verdict).filter(pl.col(REASON).is_not_null()).select(*ORDER, number, REASON, VALUE)


def _missing(rows: pl.DataFrame) -> dict[str, int]:
    columns = {column: kind for column, kind in rows.schema.items() if column not in ORDER}
    found = rows.select(missing(column, kind).sum().alias(column) for column, kind in columns.items())
    return {column: int(found.item(0, column)) for column in columns}


def _summary(file: int, counts: Sequence[tuple[int | None, str, str, int]]) -> pl.DataFrame:
    schema = {STEP: DECISION[STEP], "statistic": pl.String(), "name": pl.String(), "count": pl.Int64()}
    return pl.DataFrame(list(counts), schema, orient="row").with_columns(pl.lit(file, pl.UInt32).alias(FILE))


def names_beside(taken: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Return new names for those of ``columns`` whose names are taken, e.g. ``input_value`` for ``value``."""
    renamed = {}
    for column in taken:
        if column in columns:
            free = f"input_{column}"
            while free in columns:
                free = f"input_{free}"
            renamed[column] = free
    return renamed
