"""Logistic regression: one linear score per class, from which come the classes' probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from airflow_dataflow.training.problem import Task
from airflow_dataflow.training.trainers._linear import LinearModel

_BLOCK_MEGABYTES = 16.0


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(LinearModel):
    """Spark ML's logistic regression: binomial for two classes, multinomial for more, fitted by L-BFGS."""

    scheme: ClassVar[str] = "spark-ml-logistic-regression-1"
    task: ClassVar[Task] = "classification"

    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    """The fit ends when a step improves the objective by less than this share; smaller values take longer and rarely
    predict better."""

    def estimator(self) -> Any:
        """Return Spark ML's estimator."""
        from pyspark.ml import classification

        # Each block of rows costs an array as large as the model; Spark's blocks of 1 MiB make too many of them.
        return classification.LogisticRegression(maxBlockSizeInMB=_BLOCK_MEGABYTES)
