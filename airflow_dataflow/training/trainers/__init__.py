"""Trainers: one file each, named after what it fits; they run inside Spark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_dataflow.registry import Registry
from airflow_dataflow.training.problem import Problem, Task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Trainer(Protocol):
    """Fits a model and uses it; a frozen dataclass whose fields are its parameters.

    Equal rows in equal order have to give equal models, so everything random in it has a fixed seed.
    """

    scheme: ClassVar[str]
    """Names what a parameter and a stored model mean; another one makes another version of the same features."""
    task: ClassVar[Task]
    """What it learns."""

    def fit(
        self, train: DataFrame, validation: DataFrame, *, problem: Problem, output: Path, checkpoint: Path
    ) -> dict[str, Any]:
        """Fit a model and save it.

        :param train: rows to learn from: ``row_id``, the label, the features.
        :param validation: rows that only tell how well it goes, with the same columns; maybe none.
        :param problem: what these columns mean.
        :param output: folder for the model, which does not exist yet.
        :param checkpoint: empty folder for what a long fit has to remember; no part of the model.
        :returns: what is worth knowing of the fit, e.g. the number of iterations.
        """

    def predict(self, data: DataFrame, *, problem: Problem, model: Path) -> DataFrame:
        """Apply a saved model.

        :param data: rows with the columns of ``train``.
        :param problem: what these columns mean.
        :param model: folder that :meth:`fit` has filled.
        :returns: ``row_id``, ``label``, ``prediction``, and for a classification ``probability``, that of the
            predicted class.
        """


TRAINERS: Registry[Trainer] = Registry("airflow_dataflow.training.trainers", "trainer", "airflow_dataflow.trainers")
