"""What applications share: reading features, writing predictions, and saying why they failed."""

from __future__ import annotations

import errno

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.errors import InvalidInputError, TransferError
from airflow_dataflow.training.problem import Feature, Problem
from tests.training.versions import table

pytestmark = pytest.mark.spark

PROBLEM = Problem(
    features=(Feature(name="body_tfidf", type="vector", size=60), Feature(name="body_chars", type="double")),
    label="label",
    label_type="string",
    classes=("a", "b"),
)


@pytest.fixture
def application(spark):
    """Return the module, which needs Spark to be imported."""
    from airflow_dataflow.training.jobs import _application

    return _application


def test_a_struct_of_the_right_layout_is_read_as_a_vector(spark, application, tmp_path):
    rows = table(20, 0)
    pq.write_table(rows, tmp_path / "0.parquet")
    data = application.read_split(spark, PROBLEM, tmp_path)
    first = data.orderBy("row_id").first()
    expected = rows.sort_by("row_id")["body_tfidf"][0].as_py()
    assert first["body_tfidf"].size == 60
    assert first["body_tfidf"].indices.tolist() == expected["indices"]
    assert first["body_tfidf"].values.tolist() == expected["values"]


def test_an_empty_split_has_the_columns_of_a_full_one(spark, application, tmp_path):
    data = application.read_split(spark, PROBLEM, tmp_path)
    assert data.columns == ["row_id", "label", "body_tfidf", "body_chars"]
    assert data.count() == 0


def test_all_kinds_of_numbers_are_read(spark, application, tmp_path):
    kinds = {"double": pa.float64(), "float": pa.float32(), "boolean": pa.bool_(), "tinyint": pa.int8()}
    kinds |= {"smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64()}
    columns = {f"as_{name}": pa.array([1], kind) for name, kind in kinds.items() if name != "boolean"}
    columns["as_boolean"] = pa.array([True])
    pq.write_table(pa.table({"row_id": ["r"], "label": ["x"], **columns}), tmp_path / "0.parquet")
    features = tuple(Feature(name=f"as_{name}", type=name) for name in kinds)
    row = application.read_split(
        spark, Problem(features=features, label="label", label_type="string"), tmp_path
    ).first()
    assert all(row[feature.name] == 1 for feature in features)


def _of_java(spark, act):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever PySpark makes of it
        act()
    return raised.value


def test_java_errors_are_told_by_their_first_cause(spark, application, tmp_path):
    (tmp_path / "0.parquet").write_bytes(b"PAR1 and then nothing")
    error = _of_java(spark, lambda: application.read_split(spark, PROBLEM, tmp_path).collect())
    described = application.describe(error)
    assert described["message"].startswith("RuntimeException: ")
    assert "0.parquet is not a Parquet file" in described["message"]
    assert "\n" not in described["message"]
    assert not described["terminal"]


def test_a_file_that_is_not_there_stays_away_however_often_one_looks(spark, application, tmp_path):
    error = _of_java(spark, lambda: spark.read.parquet(str(tmp_path / "gone.parquet")))
    assert application.describe(error)["terminal"]
    assert "gone.parquet" in application.describe(error)["message"]


def test_a_feature_without_a_value_says_what_to_do(spark, application, tmp_path):
    from pyspark.ml.feature import VectorAssembler

    data = spark.createDataFrame([(float("nan"),)], ["x"])
    error = _of_java(spark, lambda: VectorAssembler(inputCols=["x"], outputCol="y").transform(data).collect())
    described = application.describe(error)
    assert described["terminal"]
    assert described["message"].endswith("a feature has no value in some row; extract the features again")


def test_want_of_memory_says_what_to_do(spark, application):
    error = _of_java(spark, lambda: spark.range(1).selectExpr("reverse(repeat('x', 1500000000)) x").collect())
    described = application.describe(error)
    assert described["terminal"]
    assert "raise driver_memory" in described["message"]


@pytest.mark.parametrize(
    ("error", "terminal"),
    [
        (InvalidInputError("wrong"), True),
        (TransferError("broken"), False),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (RuntimeError("who knows"), False),
    ],
    ids=["terminal", "transient", "full disk", "unknown"],
)
def test_errors_of_python_are_told_too(application, error, terminal):
    described = application.describe(error)
    assert described["terminal"] is terminal
    assert described["message"].startswith(f"{type(error).__name__}: {error}")
