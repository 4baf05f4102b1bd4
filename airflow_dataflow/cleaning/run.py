"""Take new files through the steps: the looks that rules ask for, then the deal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from airflow_dataflow.cleaning.rule import DuplicateRule, FittedRule
from airflow_dataflow.cleaning.steps import (
    DECISION,
    DUPLICATE_OF,
    KEY,
    NO_DECISIONS,
    REASON,
    ROW_ID,
    SIGNATURE,
    STEP,
    VALUE,
    Deal,
    Look,
    RowIds,
    Step,
    check_columns,
    columns_for,
)
from airflow_dataflow.cleaning.tally import Tally, tally_of
from airflow_dataflow.engines.engine import FILE, ORDER, Engine, Frame, TableFile
from airflow_dataflow.engines.tables import empty_batch
from airflow_dataflow.recipe import Recipe
from airflow_dataflow.storage.draft import VersionDraft


class Run:
    """One run over files that were never cleaned before.

    :param engine: what reads and writes.
    :param tables: the files, in the order of rows.
    :param recipe: whose steps are taken.
    :param draft: the version in the making, with all that is carried over already in it.
    """

    def __init__(self, engine: Engine, tables: Sequence[TableFile], recipe: Recipe, draft: VersionDraft) -> None:
        self._engine = engine
        self._tables = tables
        self._recipe = recipe
        self._draft = draft
        self._row_ids = RowIds(column=recipe.id, stems=tuple(table.stem for table in tables))
        self._steps: list[Step] = []
        self._decided = 0
        self._rejected = NO_DECISIONS

    def check(self, steps: Sequence[Step], columns: Sequence[str], where: str) -> None:
        """Check that the files have what the rules read.

        :param columns: names of further columns of the dataset, which these files may lack.
        :param where: what to call the source in messages.
        """
        found = empty_batch(self._engine.schema(self._tables)).drop(ORDER).schema
        check_columns(steps, self._recipe, dict.fromkeys(columns, pl.Null()) | found, where)

    def clean(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], list[Tally]]:
        """Write the outputs of each file into the draft.

        :returns: the steps with all that their rules have learned, and what was counted in each file.
        """
        for step in steps:
            self._steps.append(self._prepare(step))
        return tuple(self._steps), self._deal()

    def _prepare(self, step: Step) -> Step:
        if isinstance(step.rule, DuplicateRule):
            self._reject_repeats(step, step.rule)
        elif isinstance(step.rule, FittedRule):
            unknown = [column for column in step.rule.reads if column not in step.state]
            if unknown:
                return replace(step, state={**step.state, **step.rule.fit(self._look(step), unknown)})
        return step

    def _look(self, target: Step) -> Frame:
        columns, steps = columns_for(self._steps, self._decided, target, self._recipe)
        look = Look(steps=tuple(steps), decided=self._decided, target=target, row_ids=self._row_ids)
        rows = self._engine.scan(self._tables, columns, what=f"looking for {target.key}")
        seen = rows.join(self._rejected, how="anti").map_batches(look).persist()
        self._reject(seen.map_batches(_rejected).collect())
        self._decided = target.index
        return seen.map_batches(_surviving)

    def _reject_repeats(self, step: Step, rule: DuplicateRule) -> None:
        rows = self._look(step).map_batches(_signed)
        folder = f"signatures/{step.key}"
        repeats = rows.first_by(KEY, before=self._earlier(folder))
        self._reject(
            repeats.select(
                *ORDER,
                pl.lit(step.index, DECISION[STEP]).alias(STEP),
                pl.lit(rule.reason).alias(REASON),
                pl.lit(None, DECISION[VALUE]).alias(VALUE),
                pl.col(f"first_{ROW_ID}").alias(DUPLICATE_OF),
            )
        )
        self._decided = step.index + 1
        firsts = rows.join(repeats.select(ORDER), how="anti")
        firsts.write(
            lambda batch: {folder: batch.drop_nulls(KEY).select(*ORDER, *SIGNATURE).rename(SIGNATURE)},
            self._draft.create,
        )

    def _earlier(self, folder: str) -> Frame | None:
        """Return the signatures that were carried over."""
        tables = [
            TableFile(directory=self._draft.directory, path=entry.path, stem=entry.path)
            for entry in self._draft.entries
            if entry.path.startswith(f"{folder}/")
        ]
        if not tables:
            return None
        stored = {name: column for column, name in SIGNATURE.items()}
        rows = self._engine.scan(tables, list(stored), what="comparing with earlier rows")
        return rows.map_batches(lambda batch: batch.rename(stored).select(*ORDER, *SIGNATURE))

    def _reject(self, decisions: pl.DataFrame) -> None:
        self._rejected = pl.concat([self._rejected, decisions], how="diagonal")

    def _deal(self) -> list[Tally]:
        deal = Deal(steps=tuple(self._steps), decided=self._decided, row_ids=self._row_ids)
        known = self._engine.schema(self._tables).names
        columns = dict.fromkeys([*known, *(column for step in self._steps for column in step.rule.reads)])
        rows = self._engine.scan(self._tables, list(columns), what="cleaning")
        counts = rows.join(self._rejected, how="left").write(deal, self._draft.create)
        by_file = counts.partition_by(FILE, as_dict=True) if len(counts) else {}
        return [tally_of(by_file.get((number,)), self._steps) for number in range(len(self._tables))]


def _rejected(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col(STEP).is_not_null()).select(*ORDER, STEP, REASON, VALUE)


def _surviving(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col(STEP).is_null()).drop(STEP, REASON, VALUE)


def _signed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*ORDER, *SIGNATURE)
