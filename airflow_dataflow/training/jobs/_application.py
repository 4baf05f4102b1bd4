"""What all applications share: how they start, what they read and write, and how they say why they failed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyspark.ml.linalg import VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DataType, StringType, StructField, StructType

from airflow_dataflow.errors import is_terminal
from airflow_dataflow.training.child import end_with_parent
from airflow_dataflow.training.problem import Problem

Job = Callable[[SparkSession, Mapping[str, Any], Path], dict[str, Any]]
"""Does the work: takes the session, the content of the job file and its folder, returns the result."""

_TERMINAL_KINDS = ("IllegalArgumentException", "AnalysisException")
_REMEDIES = {
    "OutOfMemoryError": "raise driver_memory (spark.executor.memory on a cluster), or use fewer features or classes",
    "No space left on device": "free some space",
    "while assembling a row": "a feature has no value in some row; extract the features again",
}
_MESSAGE_CHARS = 1000


def main(job: Job) -> None:
    """Run a job in the process that ``spark-submit`` has started."""
    end_with_parent()
    path = Path(sys.argv[1])
    try:
        spark = SparkSession.builder.getOrCreate()
        perform(job, spark, path)
        spark.stop()
    except Exception as error:
        (path.parent / "error.json").write_text(json.dumps(describe(error)), encoding="utf-8")
        raise


def perform(job: Job, spark: SparkSession, path: Path) -> None:
    """Run a job in a session, and write its result beside the job file.

    :param path: the job file.
    """
    result = job(spark, json.loads(path.read_text(encoding="utf-8")), path.parent)
    (path.parent / "result.json").write_text(json.dumps(result), encoding="utf-8")


def read_split(spark: SparkSession, problem: Problem, folder: Path) -> DataFrame:
    """Read the feature files of a split: the row id, the label, and all features.

    The schema is given, because Parquet files do not say that a struct is a vector of Spark ML, nor how long it is.
    """
    fields = [StructField("row_id", StringType()), StructField(problem.label, _type(problem.label_type))]
    for feature in problem.features:
        metadata = {} if feature.size is None else {"ml_attr": {"num_attrs": feature.size}}
        fields.append(StructField(feature.name, _type(feature.type), metadata=metadata))
    # An empty split has no file, and Spark wants at least one.
    files = [str(path) for path in sorted(folder.glob("*.parquet"))]
    if not files:
        return spark.createDataFrame([], StructType(fields))
    return spark.read.schema(StructType(fields)).parquet(*files)


def write_predictions(predictions: DataFrame, path: Path) -> None:
    """Write predictions as one Parquet file, sorted by row id, whatever the number of partitions and cores."""
    folder = path.with_suffix("")
    predictions.coalesce(1).sortWithinPartitions("row_id").write.parquet(str(folder))
    (part,) = folder.glob("part-*.parquet")
    part.rename(path)
    shutil.rmtree(folder)


def describe(error: BaseException) -> dict[str, Any]:
    """Return what the submitting side needs to know of an error: its cause in one line, and whether a retry helps."""
    kind, message = _root_cause(error)
    everything = f"{kind} {message} {error}"
    remedies = [remedy for sign, remedy in _REMEDIES.items() if sign in everything]
    terminal = bool(remedies) or is_terminal(error) or kind.endswith(_TERMINAL_KINDS)
    line = re.sub(r"\s+", " ", f"{kind}: {message}")[:_MESSAGE_CHARS]
    return {"terminal": terminal, "message": "; ".join([line, *remedies[:1]])}


def _root_cause(error: BaseException) -> tuple[str, str]:
    """Return kind and message of the first error, which may be one of Java's."""
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    if java is None:
        return type(error).__name__, str(error)
    while java.getCause() is not None:
        java = java.getCause()
    return str(java.getClass().getSimpleName()), str(java.getMessage())


def _type(name: str) -> DataType:
    return VectorUDT() if name == "vector" else DataType.fromDDL(name)
