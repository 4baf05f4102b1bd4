"""The normal form of what Spark saves."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.training.saved_model import normalise_table


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
