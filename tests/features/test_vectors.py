from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from airflow_dataflow.engines.tables import to_arrow
from airflow_dataflow.features.extract import extract_dataset
from airflow_dataflow.features.vectors import sparse_vectors
from airflow_dataflow.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pyspark.sql import SparkSession

    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.storage.store import Store

OFFSETS, INDICES = np.array([0, 2, 2, 3], np.int32), np.array([1, 4, 0], np.int32)


def test_rows_of_a_sparse_matrix_become_structs() -> None:
    vectors = sparse_vectors("v", 5, OFFSETS, INDICES, np.array([0.5, -1.0, 2.0]))
    assert vectors.to_list() == [
        {"type": 0, "size": 5, "indices": [1, 4], "values": [0.5, -1.0]},
        {"type": 0, "size": 5, "indices": [], "values": []},
        {"type": 0, "size": 5, "indices": [0], "values": [2.0]},
    ]
    kind = to_arrow(vectors.to_frame()).schema.field("v").type
    assert str(kind) == "struct<type: int8, size: int32, indices: list<item: int32>, values: list<item: double>>"


@pytest.mark.spark
def test_spark_reads_the_vectors_of_a_version_as_its_own(
    spark: SparkSession, store: Store, cleaned: Callable[..., Manifest], nights: tuple[datetime, ...]
) -> None:
    from pyspark.ml.functions import vector_to_array
    from pyspark.ml.linalg import SparseVector, VectorUDT
    from pyspark.sql.types import DoubleType, StringType, StructField, StructType

    rows = pl.DataFrame(
        {"id": ["a", "b", "c"], "body": ["my card, my CARD", "東京 refund", None], "label": ["x", "y", "x"]}
    )
    features = [{"text_statistics": {"standardise": False}}, {"hashed_tfidf": {"dimensions": 32}}]
    split = {"train": 1, "validation": 0, "test": 0}
    recipe = load_recipe({"id": "id", "text": "body", "label": "label", "features": features, "split": split})
    made = extract_dataset(store, cleaned({"a": rows}).reference, "features", recipe, at=nights[0])
    file = Path(store.directory(made).root) / "data" / "train" / "a.parquet"

    schema = StructType(
        [
            StructField("row_id", StringType()),
            StructField("body_words", DoubleType()),
            StructField("body_hashed_tfidf", VectorUDT()),
        ]
    )
    frame = spark.read.schema(schema).parquet(str(file)).orderBy("row_id")
    found = frame.withColumn("dense", vector_to_array("body_hashed_tfidf")).collect()
    expected = pl.read_parquet(file)
    assert [row["body_words"] for row in found] == expected["body_words"].to_list() == [4, 2, 0]
    for row, vector in zip(found, expected["body_hashed_tfidf"], strict=True):
        assert row["body_hashed_tfidf"] == SparseVector(32, vector["indices"], vector["values"])
        dense = np.zeros(32)
        dense[vector["indices"]] = vector["values"]
        assert row["dense"] == dense.tolist()
