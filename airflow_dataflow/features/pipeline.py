"""The extractors of a recipe together: fitted by any engine, saved in a version, loaded to serve new rows."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import polars as pl

from airflow_dataflow.errors import CorruptDataError, InvalidInputError, MissingColumnError, did_you_mean
from airflow_dataflow.features.extractor import EXTRACTORS, Extractor, State
from airflow_dataflow.recipe import Recipe, Step
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft

STATE_FOLDER = "state"
_INDEX = f"{STATE_FOLDER}/extractors.json"


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Named extractors in the order of their columns."""

    names: tuple[str, ...]
    """Name of each extractor."""
    extractors: tuple[Extractor, ...]
    """The extractors."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that the extractors read, each once."""
        return tuple(dict.fromkeys(column for extractor in self.extractors for column in extractor.reads))

    @property
    def makes(self) -> tuple[str, ...]:
        """Columns that the extractors make."""
        return tuple(column for extractor in self.extractors for column in extractor.makes)

    @property
    def schemes(self) -> tuple[str, ...]:
        """Scheme of each extractor."""
        return tuple(extractor.scheme for extractor in self.extractors)

    def summarise(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return one row that says what fitting needs to know of a batch; no row for an empty batch."""
        arrays = {
            f"{place}.{key}": _listed(array)
            for place, extractor in enumerate(self.extractors)
            for key, array in extractor.summarise(batch).items()
        }
        return pl.DataFrame({"rows": [batch.height], **arrays}).head(min(batch.height, 1))

    def merge(self, summaries: pl.DataFrame) -> pl.DataFrame:
        """Return the one row that says the same as all rows of ``summaries``."""
        merged: dict[str, Any] = {"rows": [summaries["rows"].sum()]}
        for place, extractor in enumerate(self.extractors):
            states = [_state(row, place) for row in summaries.iter_slices(1)]
            merged |= {f"{place}.{key}": _listed(array) for key, array in extractor.merge(states).items()}
        return pl.DataFrame(merged)

    def fit(self, summary: pl.DataFrame) -> FittedPipeline:
        """Return the pipeline with the state that follows from the summary of all training rows."""
        states = (extractor.fit(_state(summary, place)) for place, extractor in enumerate(self.extractors))
        return FittedPipeline(pipeline=self, states=tuple(states))


@dataclass(frozen=True, kw_only=True)
class FittedPipeline:
    """Extractors with their state: all that serving needs."""

    pipeline: Pipeline
    """The extractors."""
    states: tuple[State, ...]
    """State of each extractor."""

    def transform(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return the feature columns, one row for each row of ``batch``.

        :raises MissingColumnError: when a column that an extractor reads is not there.
        :raises InvalidInputError: when a column has a type that an extractor cannot read.
        """
        require_columns(self.pipeline.reads, batch.columns, "the data")
        steps = zip(self.pipeline.extractors, self.states, strict=True)
        made = (extractor.transform(batch, state).select(extractor.makes) for extractor, state in steps)
        return reduce(pl.DataFrame.hstack, made)

    def save(self, draft: VersionDraft) -> None:
        """Write the state under ``state/`` of a version; equal states give equal bytes."""
        index = []
        named = zip(self.pipeline.names, self.pipeline.extractors, self.states, strict=True)
        for place, (name, extractor, state) in enumerate(named):
            arrays = {}
            for key, array in sorted(state.items()):
                arrays[key] = f"{STATE_FOLDER}/{place:02d}_{name}/{key}.npy"
                with draft.create(arrays[key]) as writer:
                    np.lib.format.write_array(writer, array, allow_pickle=False)
            parameters = dataclasses.asdict(cast(Any, extractor))
            index.append({"name": name, "scheme": extractor.scheme, "parameters": parameters, "state": arrays})
        with draft.create(_INDEX) as writer:
            writer.write((json.dumps(index, indent=1, sort_keys=True) + "\n").encode())


def build_extractors(recipe: Recipe) -> Pipeline:
    """Make the extractors that a recipe names.

    An extractor with a field ``column`` reads the recipe's ``text`` when its parameters name no column.

    :raises InvalidInputError: for an unknown extractor or parameter, when there is none, and when two make one column.
    """
    if not recipe.features:
        raise InvalidInputError(
            f"the recipe names no feature extractor; add 'features', with one or more of {', '.join(EXTRACTORS.names)}"
        )
    built = tuple(EXTRACTORS.build(step.name, _with_column(step, recipe)) for step in recipe.features)
    pipeline = Pipeline(names=tuple(step.name for step in recipe.features), extractors=built)
    for column in pipeline.makes:
        if pipeline.makes.count(column) > 1:
            raise InvalidInputError(f"two extractors make the column {column!r}; leave one of them out")
    return pipeline


def load_extractors(directory: Directory) -> FittedPipeline:
    """Read the extractors and their state from the folder of a version that holds features.

    :param directory: the version's folder, e.g. ``store.directory(manifest)``.
    :raises NotFoundError: when there is no state.
    :raises InvalidInputError: when another release with another meaning of the state wrote it.
    :raises CorruptDataError: when a file of the state is damaged.
    """
    index = _read(directory, _INDEX, json.loads)
    extractors = [EXTRACTORS.build(item["name"], item["parameters"]) for item in index]
    for item, extractor in zip(index, extractors, strict=True):
        if item["scheme"] != extractor.scheme:
            raise InvalidInputError(
                f"the state in {directory.url} is of scheme {item['scheme']!r}, this release has {extractor.scheme!r}: "
                "extract the features again, with refit"
            )
    states = ({key: _read(directory, path, _array) for key, path in item["state"].items()} for item in index)
    pipeline = Pipeline(names=tuple(item["name"] for item in index), extractors=tuple(extractors))
    return FittedPipeline(pipeline=pipeline, states=tuple(states))


def require_columns(wanted: Iterable[str], present: Sequence[str], where: str) -> None:
    """Check that columns are there.

    :param where: what is looked at, for the message.
    :raises MissingColumnError: naming the first that is not, and the closest one that is.
    """
    for column in wanted:
        if column not in present:
            raise MissingColumnError(f"no column {column!r} in {where}{did_you_mean(column, present)}")


def _with_column(step: Step, recipe: Recipe) -> dict[str, Any]:
    fields = {field.name for field in dataclasses.fields(cast(Any, EXTRACTORS.get(step.name)))}
    if "column" not in fields or "column" in step.parameters:
        return step.parameters
    if recipe.text is None:
        raise InvalidInputError(f"feature extractor {step.name!r} names no 'column', and the recipe has no 'text'")
    return {"column": recipe.text, **step.parameters}


def _listed(array: np.ndarray[Any, Any]) -> pl.Series:
    """Return a column of one row that holds an array of any length."""
    return pl.Series([pl.Series(array)])


def _state(summary: pl.DataFrame, place: int) -> State:
    """Return the arrays of one extractor from a summary of one row."""
    mine = f"{place}."
    return {name.removeprefix(mine): summary[name][0].to_numpy() for name in summary.columns if name.startswith(mine)}


def _read(directory: Directory, path: str, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(directory.read(path))
    except ValueError as error:
        raise CorruptDataError(f"{directory.url}/{path} is damaged ({error}); extract the features again") from error


def _array(data: bytes) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array
