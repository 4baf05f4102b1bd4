"""What a model is to learn: which columns of a version of features, and what from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from airflow_dataflow.datasets.manifest import FileEntry, Manifest
from airflow_dataflow.errors import EmptySourceError, InvalidInputError, MissingColumnError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.work_folder import bring_in

Task = Literal["classification", "regression"]

SPLITS = ("train", "validation", "test")
LEAST_TRAINING_ROWS = 10
"""Fewer rows are no ground to learn from."""

_NUMBERS = {
    "double": "double",
    "float": "float",
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
}
_VECTOR_FIELDS = ["type", "size", "indices", "values"]
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature column."""

    name: str
    """Name of the column."""
    type: str
    """Spark's name of its type; ``vector`` for a vector of Spark ML."""
    size: int | None = None
    """Length of each vector; ``None`` for a number."""

    @property
    def kind(self) -> str:
        """Type and size, for messages."""
        return self.type if self.size is None else f"{self.type} of {self.size:,}"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is learnt from what."""

    features: tuple[Feature, ...]
    """Feature columns, in order."""
    label: str
    """Column to learn."""
    label_type: str
    """Spark's name of its type."""
    classes: tuple[str, ...] | None = None
    """Distinct labels of the training rows, sorted, a class's number being its place; ``None`` for a regression."""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` has described."""
        return TypeAdapter(cls).validate_python(content)

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as JSON knows it."""
        return asdict(self)


class FeatureVersion:
    """A version of features: its columns, and the files of its splits.

    :param store: the store.
    :param reference: reference of the version.
    :raises NotFoundError: when there is no such version.
    :raises InvalidInputError: when it holds no features, or features that no trainer can read.
    """

    def __init__(self, store: Store, reference: str) -> None:
        self.manifest: Manifest = store.manifest(reference)
        self.directory: Directory = store.directory(self.manifest)
        described = self.manifest.statistics.get("features")
        if described is None:
            raise InvalidInputError(
                f"{self.manifest.reference} holds no features; train on a version that the features step has made"
            )
        self.label_column: str | None = described["label"]
        self.files = {split: self.manifest.files_under(f"data/{split}") for split in SPLITS}
        self.rows = {split: sum(entry.rows or 0 for entry in files) for split, files in self.files.items()}
        self._schema = self._read_schema()
        self.features = tuple(self._feature(name) for name in described["columns"])

    def problem(self, task: Task) -> Problem:
        """Return what to learn from this version, after a look at its labels.

        :raises InvalidInputError: when there is no label, or not one that ``task`` can learn.
        :raises EmptySourceError: when there are too few rows to learn from.
        """
        if self.label_column is None:
            raise InvalidInputError(
                f"{self.manifest.reference} has no label; name a column in 'label' of the recipe and extract again"
            )
        if self.rows["train"] < LEAST_TRAINING_ROWS:
            raise EmptySourceError(
                f"the training split of {self.manifest.reference} has {self.rows['train']:,} rows of "
                f"{sum(self.rows.values()):,}, fewer than {LEAST_TRAINING_ROWS}; give it more rows, or raise 'train' "
                "in 'split' of the recipe"
            )
        if task == "classification":
            return Problem(features=self.features, label="label", label_type="string", classes=self._classes())
        if "label_value" in self._schema.names:
            return Problem(features=self.features, label="label_value", label_type="double")
        self._check_numbers()
        return Problem(features=self.features, label="label", label_type="string")

    def check_suits(self, problem: Problem, model: str) -> None:
        """Check that a model can predict the rows of this version, and that its predictions can be judged.

        :param problem: what the model has learnt from what.
        :param model: reference of the model, for messages.
        :raises InvalidInputError: when a feature is missing or another one, or when there is no label.
        """
        own = {feature.name: feature for feature in self.features}
        for feature in problem.features:
            if own.get(feature.name) != feature:
                raise InvalidInputError(
                    f"{model} reads the feature column {feature.name!r} ({feature.kind}), and "
                    f"{self.manifest.reference} has {own[feature.name].kind if feature.name in own else 'none'}; "
                    "extract the features by the recipe that the model was trained with"
                )
        if problem.label not in self._schema.names:
            raise InvalidInputError(
                f"{self.manifest.reference} has no column {problem.label!r} to compare the predictions of {model} with"
            )
        if not self.rows["test"]:
            raise EmptySourceError(f"{self.manifest.reference} has no test rows; raise 'test' in 'split' of the recipe")

    def bring_in(self, split: str, folder: Path) -> None:
        """Make the files of a split available in a local folder, under names that Spark takes as they are."""
        filled = [entry for entry in self.files[split] if entry.rows]
        bring_in(self.directory, {folder / f"{number:05}.parquet": entry for number, entry in enumerate(filled)})

    def _classes(self) -> tuple[str, ...]:
        classes = tuple(sorted(self._labels("train").unique().to_list()))
        rows = self.rows["train"]
        if len(classes) < 2:  # noqa: PLR2004 - to tell apart takes two
            raise InvalidInputError(
                f"column {self.label_column!r} has the one class {classes[0]!r} in all {rows:,} training rows of "
                f"{self.manifest.reference}; there is nothing to tell apart: add rows of other classes, or name "
                "another column in 'label' of the recipe"
            )
        if len(classes) * 2 > rows:
            shown = ", ".join(repr(name) for name in classes[:_SHOWN])
            raise InvalidInputError(
                f"column {self.label_column!r} has {len(classes):,} classes ({shown}, …) in {rows:,} training rows of "
                f"{self.manifest.reference}; that looks like a number or a name: use a regression such as "
                "'linear_regression', or name another column in 'label' of the recipe"
            )
        return classes

    def _check_numbers(self) -> None:
        for split in SPLITS:
            labels = self._labels(split)
            numbers = labels.cast(pl.Float64, strict=False)
            wrong = labels.filter(numbers.is_null() | ~numbers.is_finite())
            if len(wrong):
                raise InvalidInputError(
                    f"column {self.label_column!r} of {self.manifest.reference} holds {wrong[0]!r}, which is not a "
                    "number, and a regression learns numbers; use a classification such as 'logistic_regression'"
                )

    def _labels(self, split: str) -> pl.Series:
        columns = [pl.Series("label", [], dtype=pl.String)]
        for entry in self.files[split]:
            with self.directory.open(entry.path) as file:
                table = pq.read_table(file, columns=["label"])
            columns.append(pl.Series("label", table["label"], dtype=pl.String))
        return pl.concat(columns)

    def _read_schema(self) -> pa.Schema:
        for entry in self._filled():
            with self.directory.open(entry.path) as file:
                return pq.read_schema(file)
        raise EmptySourceError(f"{self.manifest.reference} has no rows; see its quarantine for the reasons")

    def _filled(self) -> Iterable[FileEntry]:
        return (entry for files in self.files.values() for entry in files if entry.rows)

    def _feature(self, name: str) -> Feature:
        if name not in self._schema.names:
            raise MissingColumnError(f"{self.manifest.reference} lacks its feature column {name!r}; extract it again")
        kind = self._schema.field(name).type
        if pa.types.is_struct(kind) and [field.name for field in kind] == _VECTOR_FIELDS:
            return Feature(name=name, type="vector", size=self._vector_size(name))
        if str(kind) not in _NUMBERS:
            raise InvalidInputError(
                f"feature column {name!r} of {self.manifest.reference} holds {kind}; a trainer reads numbers "
                f"({', '.join(_NUMBERS)}) and vectors"
            )
        return Feature(name=name, type=_NUMBERS[str(kind)])

    def _vector_size(self, name: str) -> int:
        with self.directory.open(next(iter(self._filled())).path) as file:
            batch = next(pq.ParquetFile(file).iter_batches(batch_size=1, columns=[name]))
        vector = batch.column(0)[0].as_py()
        return len(vector["values"]) if vector["size"] is None else int(vector["size"])
