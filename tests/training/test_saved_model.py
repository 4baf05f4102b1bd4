"""The normal form of what Spark saves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.training.saved_model import normalise_model, normalise_table


def test_a_table_has_the_same_bytes_however_it_was_encoded(tmp_path: Path) -> None:
    values = pa.list_(pa.field("element", pa.float64()))
    schema = pa.schema([pa.field("type", pa.int8(), nullable=False), pa.field("values", values)])
    table = pa.table({"type": pa.array([1, 1], pa.int8()), "values": [[0.5, 0.5], None]}, schema=schema)
    described = table.replace_schema_metadata({"org.apache.spark.sql.parquet.row.metadata": '{"type": "struct"}'})
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    pq.write_table(described, one, use_dictionary=True)
    pq.write_table(described, two, use_dictionary=False, compression="none", row_group_size=1)
    assert one.read_bytes() != two.read_bytes()
    normalise_table(one)
    normalise_table(two)
    assert one.read_bytes() == two.read_bytes()
    assert pq.read_table(one).schema.equals(described.schema, check_metadata=True)


@pytest.mark.spark
def test_spark_loads_the_normal_form_of_a_pipeline(spark, tmp_path: Path) -> None:
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import IndexToString

    # A class may look like one of Spark's random names.
    labels = ["IndexToString_0123456789ab", "Größe"]
    saved = []
    for name in ("one", "two"):
        stage = IndexToString(inputCol="number", outputCol="name", labels=labels)
        PipelineModel([stage]).save(str(tmp_path / name))
        normalise_model(tmp_path / name, datetime(2026, 11, 23, tzinfo=UTC))
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        saved.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert saved[0] == saved[1]
    assert list(saved[0]) == ["metadata/part-00000.txt", "stages/0_IndexToString_000000000001/metadata/part-00000.txt"]
    model = PipelineModel.load(str(tmp_path / "one"))
    data = spark.createDataFrame([(0.0,), (1.0,)], ["number"])
    assert [row["name"] for row in model.transform(data).collect()] == labels
