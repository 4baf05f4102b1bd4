"""Operators that train, judge and gate models; the work itself is :mod:`airflow_dataflow.training`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors
from airflow_dataflow.operators._links import ReportLink
from airflow_dataflow.operators._spark import SparkOperator, mapping

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.store import Store

_SPARK_FIELDS = ("spark_conn_id", "driver_memory", "conf", "dataflow_conn_id")


class SparkTrainOperator(SparkOperator):
    """Train a model on a version of features by a packaged Spark application, and make a version of the model.

    What is wrong with the data is found before Spark starts. A retry is safe: it returns the version that an earlier
    attempt finished, and makes the same one, byte by byte, when that attempt was killed.

    :param source: reference of a version of features, e.g. ``support/features@latest`` (templated).
    :param target: dataset to add a version to (templated).
    :param trainer: what to fit, e.g. ``logistic_regression`` or ``linear_regression`` (templated).
    :param parameters: parameters of the trainer, as a mapping or as JSON; defaults when absent (templated).
    """

    template_fields: Sequence[str] = ("source", "target", "trainer", "parameters", *_SPARK_FIELDS)
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "conf": "json"}

    def __init__(
        self,
        *,
        source: str,
        target: str,
        trainer: str = "logistic_regression",
        parameters: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.trainer = trainer
        self.parameters = parameters

    def make_version(self, store: Store, *, at: datetime, progress: Progress) -> Manifest:
        """Train the model."""
        from airflow_dataflow.training.train import train_dataset

        parameters = mapping(self.parameters, "parameters")
        return train_dataset(
            store, self.source, self.target, self.trainer, parameters, at=at, run_job=self.run_job, progress=progress
        )


class EvaluateModelOperator(SparkOperator):
    """Judge a model by its test rows, and make a version of the report.

    The version holds precision, recall, F1 and support of every class as JSON and as a page, and the confusion matrix;
    for a regression rmse, mae and r2. The asset event tells the metrics. A retry is safe: it returns the version that
    an earlier attempt finished.

    :param source: reference of the model, e.g. ``support/model@latest`` (templated).
    :param target: dataset to add a version to (templated).
    :param features: reference of another version of features, whose test rows the model predicts for this; the test
        rows of the features that it was trained on when absent (templated).
    """

    template_fields: Sequence[str] = ("source", "target", "features", *_SPARK_FIELDS)
    template_fields_renderers: ClassVar[dict[str, str]] = {"conf": "json"}
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, source: str, target: str, features: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.features = features

    def make_version(self, store: Store, *, at: datetime, progress: Progress) -> Manifest:  # noqa: ARG002 - it is short
        """Judge the model."""
        from airflow_dataflow.training.evaluate import evaluate_dataset

        return evaluate_dataset(store, self.source, self.target, at=at, features=self.features, run_job=self.run_job)


class QualityGateOperator(BaseOperator):
    """Stop the run when a metric is out of its bounds, or worse than that of the last published version.

    It reads and decides, and so does a retry; a metric that fails the gate fails the task at once.

    :param source: reference of the evaluation, e.g. ``support/evaluation@latest`` (templated).
    :param gate: what the metric has to be, by the names of :class:`~airflow_dataflow.training.gate.GateOptions`, as a
        mapping or as JSON, e.g. ``{"metric": "macro_f1", "min_value": 0.6, "max_drop": 0.02}`` (templated).
    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    template_fields: Sequence[str] = ("source", "gate", "dataflow_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"gate": "json"}

    def __init__(
        self,
        *,
        source: str,
        gate: Mapping[str, Any] | str,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.gate = gate
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> str:  # noqa: ARG002 - Airflow's
        """Check the metric and return the fixed reference of the evaluation."""
        from airflow_dataflow.registry import make
        from airflow_dataflow.training.gate import GateOptions, check_gate

        with fail_at_once_on_terminal_errors():
            options = make(GateOptions, "gate", mapping(self.gate, "gate"))
            result = check_gate(DataflowHook(self.dataflow_conn_id).store, self.source, options)
        self.log.info("passed: %s", result.sentence)
        return result.evaluation
