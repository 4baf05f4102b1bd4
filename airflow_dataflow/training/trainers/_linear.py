"""What the linear models of Spark ML share: their parameters, and a pipeline from feature columns to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from airflow_dataflow.training.problem import Problem

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FEATURES, _LABEL, _NUMBER = "features", "label_number", "prediction_number"


@dataclass(frozen=True, kw_only=True)
class LinearModel(ABC):
    """A linear model; it is saved as a ``PipelineModel`` that reads feature columns and writes ``prediction``."""

    max_iterations: Annotated[int, Field(ge=1)] = 100
    """Most steps of the fit, where it takes steps."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-6
    """The fit ends when a step improves the objective by less than this share."""
    regularisation: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the penalty on large coefficients; 0 fits the training rows as closely as possible."""
    elastic_net_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the penalty that is L1, which sets coefficients to 0; the rest is L2."""
    standardise: bool = True
    """Whether the penalty regards features as scaled to unit variance, so that their units do not matter."""

    @abstractmethod
    def estimator(self) -> Any:
        """Return Spark ML's estimator, without parameters."""

    def fit(
        self,
        train: DataFrame,
        validation: DataFrame,  # noqa: ARG002 - the objective alone says when to stop
        *,
        problem: Problem,
        output: Path,
        checkpoint: Path,  # noqa: ARG002 - a fit takes minutes, and starts anew
    ) -> dict[str, Any]:
        """Fit and save the pipeline."""
        from pyspark.ml import PipelineModel
        from pyspark.ml.feature import IndexToString, StringIndexerModel, VectorAssembler
        from pyspark.sql.functions import col

        assembler = VectorAssembler(inputCols=[feature.name for feature in problem.features], outputCol=_FEATURES)
        rows = assembler.transform(train)
        estimator = self._configured()
        if problem.classes is None:
            model = estimator.fit(rows.withColumn(_LABEL, col(problem.label).cast("double")))
            stages = [assembler, model]
        else:
            classes = list(problem.classes)
            numbers = StringIndexerModel.from_labels(classes, inputCol=problem.label, outputCol=_LABEL)
            model = estimator.setPredictionCol(_NUMBER).fit(numbers.transform(rows))
            stages = [assembler, model, IndexToString(inputCol=_NUMBER, outputCol="prediction", labels=classes)]
        PipelineModel(stages).save(str(output))
        history = model.summary.objectiveHistory
        return {"iterations": len(history) - 1, "objective": history[-1]}

    def predict(self, data: DataFrame, *, problem: Problem, model: Path) -> DataFrame:
        """Apply the saved pipeline; only the JVM is at work."""
        from pyspark.ml import PipelineModel
        from pyspark.ml.functions import vector_to_array
        from pyspark.sql.functions import array_max, col

        scored = PipelineModel.load(str(model)).transform(data)
        if problem.classes is None:
            return scored.select("row_id", col(problem.label).cast("double").alias("label"), "prediction")
        probability = array_max(vector_to_array(col("probability"))).alias("probability")
        return scored.select("row_id", col(problem.label).alias("label"), "prediction", probability)

    def _configured(self) -> Any:
        return (
            self.estimator()
            .setFeaturesCol(_FEATURES)
            .setLabelCol(_LABEL)
            .setMaxIter(self.max_iterations)
            .setTol(self.tolerance)
            .setRegParam(self.regularisation)
            .setElasticNetParam(self.elastic_net_fraction)
            .setStandardization(self.standardise)
        )
