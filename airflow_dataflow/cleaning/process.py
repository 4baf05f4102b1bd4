"""Clean files into a version: what an earlier version did is carried over, the rest is run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_dataflow.cleaning.report import render
from airflow_dataflow.cleaning.run import Run
from airflow_dataflow.cleaning.steps import Step, fingerprint_of_steps, steps_of
from airflow_dataflow.cleaning.tally import Tally, rows_of, statistics_of, total, unreadable
from airflow_dataflow.datasets.manifest import Manifest, Rows, SourceFile
from airflow_dataflow.engines.engine import Engine, TableFile
from airflow_dataflow.errors import EmptySourceError
from airflow_dataflow.recipe import Recipe
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft

TALLIES = "tallies.json"
"""File of a version with the counts of each source file, from which a later version adds up its own."""
REPORT = "report.html"
"""File of a version for people to read."""

_MOST_REASONS_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Input:
    """A table file to clean."""

    table: TableFile
    """The file."""
    digest: str
    """Digest of its content."""
    bytes: int
    """Size in bytes."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Rows and files that could not be read, and that the draft's quarantine has already."""

    sources: Sequence[SourceFile] = ()
    """For each file its bad rows, or why it was refused as a whole."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The bad rows by reason."""


@dataclass(frozen=True, kw_only=True)
class Previous:
    """An earlier version that the same process has made from the same dataset."""

    manifest: Manifest
    """Its manifest."""
    directory: Directory
    """Its folder."""

    def tallies(self) -> dict[str, Tally]:
        """Return the counts of each of its source files."""
        return dict(json.loads(self.directory.read(TALLIES)))

    def source(self, item: Input) -> SourceFile | None:
        """Return what the version says of a file if it has cleaned it; the path counts, since row ids carry it."""
        for source in self.manifest.sources:
            if (source.path, source.digest) == (item.table.path, item.digest):
                return source.model_copy(update={"carried_from": self.manifest.version})
        return None

    def state(self, step: Step) -> dict[str, Any]:
        """Return what a rule has learned, but of columns that had no value."""
        states = (rule["state"] for rule in self.manifest.statistics["rules"] if rule["key"] == step.key)
        return {column: state for column, state in next(states, {}).items() if state is not None}

    def carry(self, sources: Sequence[SourceFile], draft: VersionDraft) -> None:
        """Take over what was made of files that are still the same."""
        entries = {entry.path: entry for entry in self.manifest.files}
        for source in sources:
            for path in source.outputs:
                draft.carry(entries[path], self.directory)


class Process:
    """The rules of a recipe, ready to clean.

    :param recipe: the recipe.
    :param engine: what reads and writes.
    :raises InvalidInputError: when the recipe has an unknown rule or parameter.
    """

    def __init__(self, recipe: Recipe, engine: Engine) -> None:
        self._recipe = recipe
        self._engine = engine
        self._steps = steps_of(recipe)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides what happens to a row, but for what is learned from the rows."""
        return fingerprint_of_steps(self._steps, self._recipe)

    def clean(
        self,
        inputs: Sequence[Input],
        draft: VersionDraft,
        *,
        where: str,
        columns: Sequence[str] = (),
        previous: Previous | None = None,
        lost: Unreadable = Unreadable(),
    ) -> Manifest:
        """Clean files into a draft, and commit it.

        :param where: what to call the source in messages.
        :param columns: names of the source's columns, which some of its files may lack.
        :param previous: an earlier version to carry over from; what its rules have learned stays.
        :param lost: what counts as read, but is in no input.
        :raises MissingColumnError: when a column that the recipe names is not there.
        :raises InvalidInputError: when a rule does not suit a column.
        :raises EmptySourceError: when there are no rows, or none is left.
        """
        steps = self._steps
        carried: dict[str, SourceFile] = {}
        tallies: dict[str, Tally] = {}
        if previous is not None:
            carried = {item.table.path: known for item in inputs if (known := previous.source(item)) is not None}
            tallies = previous.tallies()
            previous.carry(list(carried.values()), draft)
            steps = tuple(replace(step, state=previous.state(step)) for step in steps)
        fresh = [item for item in inputs if item.table.path not in carried]
        if fresh:
            run = Run(self._engine, [item.table for item in fresh], self._recipe, draft)
            run.check(steps, columns, where)
            steps, made = run.clean(steps)
            tallies |= {item.table.path: tally for item, tally in zip(fresh, made, strict=True)}
        tallies = {item.table.path: tallies[item.table.path] for item in inputs}
        sources = [
            carried.get(item.table.path) or _source_file(item, tallies[item.table.path], steps, draft)
            for item in inputs
        ]
        sources += lost.sources
        whole = total([unreadable(lost.reasons), *tallies.values()])
        return self._commit(draft, sources, tallies, statistics_of(whole, steps), _rows(whole, where))

    def _commit(
        self,
        draft: VersionDraft,
        sources: Sequence[SourceFile],
        tallies: Mapping[str, Tally],
        statistics: dict[str, Any],
        rows: Rows,
    ) -> Manifest:
        title = draft.dataset if not draft.parents else f"{draft.dataset}, made from {', '.join(draft.parents)}"
        with draft.create(TALLIES) as file:
            file.write(json.dumps(tallies, indent=1, sort_keys=True).encode())
        with draft.create(REPORT) as file:
            file.write(render(title, rows, statistics).encode())
        made = [
            TableFile(directory=draft.directory, path=entry.path, stem=entry.path)
            for entry in draft.entries
            if entry.path.startswith("data/")
        ]
        schema = self._engine.schema(made)
        return draft.commit(
            rows,
            columns={field.name: str(field.type) for field in schema},
            recipe=self._recipe.to_dict(),
            sources=sources,
            statistics={**statistics, "work": self.fingerprint},
        )


def _source_file(item: Input, tally: Tally, steps: Sequence[Step], draft: VersionDraft) -> SourceFile:
    rows = rows_of(tally)
    folders = ["data", "quarantine", *(f"signatures/{step.key}" for step in steps)]
    paths = {f"{folder}/{item.table.stem}.parquet" for folder in folders}
    return SourceFile(
        path=item.table.path,
        digest=item.digest,
        bytes=item.bytes,
        rows_in=rows.rows_in,
        rows_out=rows.rows_out,
        rows_quarantined=rows.rows_quarantined,
        outputs=tuple(entry.path for entry in draft.entries if entry.path in paths),
    )


def _rows(whole: Tally, where: str) -> Rows:
    rows = rows_of(whole)
    if not rows.rows_in:
        raise EmptySourceError(f"{where} has no rows to clean")
    if not rows.rows_out:
        most = sorted(rows.quarantined_by_reason.items(), key=lambda item: -item[1])[:_MOST_REASONS_NAMED]
        raise EmptySourceError(
            f"none of the {rows.rows_in:,} rows of {where} is left after cleaning; rejected most often for "
            f"{', '.join(f'{reason} ({count:,})' for reason, count in most)}: loosen these rules, or look at the source"
        )
    return rows
