"""Linear regression: a number as a weighted sum of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_dataflow.training.problem import Task
from airflow_dataflow.training.trainers._linear import LinearModel


@dataclass(frozen=True, kw_only=True)
class LinearRegression(LinearModel):
    """Spark ML's linear regression by least squares, solved exactly up to 4,096 features and by L-BFGS above."""

    scheme: ClassVar[str] = "spark-ml-linear-regression-1"
    task: ClassVar[Task] = "regression"

    def estimator(self) -> Any:
        """Return Spark ML's estimator."""
        from pyspark.ml import regression

        return regression.LinearRegression()
