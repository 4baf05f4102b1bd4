"""The Spark application that fits a model and predicts the rows that it has not learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from airflow_dataflow.training.jobs._application import main, read_split, write_predictions
from airflow_dataflow.training.problem import Problem
from airflow_dataflow.training.trainers import TRAINERS


def run(spark: SparkSession, job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fit the model under ``output/model`` and write ``output/predictions/<split>.parquet``.

    :param job: ``trainer``, ``parameters``, ``problem``, ``partitions`` of the training rows, and the ``splits`` to
        predict.
    :param folder: holds ``inputs/<split>/*.parquet``.
    """
    problem = Problem.from_dict(job["problem"])
    trainer = TRAINERS.build(job["trainer"], job["parameters"])
    train, validation = (read_split(spark, problem, folder / "inputs" / split) for split in ("train", "validation"))
    # Sums of floats depend on the order of their terms: rows in one order, and few enough partitions.
    ordered = train.coalesce(job["partitions"]).sortWithinPartitions("row_id")
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    model = folder / "output" / "model"
    fit = trainer.fit(ordered, validation, problem=problem, output=model, checkpoint=checkpoint)
    for split in job["splits"]:
        data = read_split(spark, problem, folder / "inputs" / split)
        predictions = trainer.predict(data, problem=problem, model=model)
        write_predictions(predictions, folder / "output" / "predictions" / f"{split}.parquet")
    return {"spark_version": spark.version, "fit": fit}


if __name__ == "__main__":
    main(run)
