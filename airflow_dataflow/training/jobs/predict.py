"""The Spark application that applies a model to rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from airflow_dataflow.training.jobs._application import main, read_split, write_predictions
from airflow_dataflow.training.problem import Problem
from airflow_dataflow.training.trainers import TRAINERS


def run(spark: SparkSession, job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write ``output/predictions/<split>.parquet`` for each split.

    :param job: ``trainer``, ``parameters``, ``problem``, and the ``splits`` to predict.
    :param folder: holds ``inputs/model`` and ``inputs/<split>/*.parquet``.
    """
    problem = Problem.from_dict(job["problem"])
    trainer = TRAINERS.build(job["trainer"], job["parameters"])
    for split in job["splits"]:
        data = read_split(spark, problem, folder / "inputs" / split)
        predictions = trainer.predict(data, problem=problem, model=folder / "inputs" / "model")
        write_predictions(predictions, folder / "output" / "predictions" / f"{split}.parquet")
    return {"spark_version": spark.version}


if __name__ == "__main__":
    main(run)
