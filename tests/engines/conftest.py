"""Tables as files, for any engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.engines.engine import TableFile
from airflow_dataflow.storage.directory import Directory


@pytest.fixture
def folder(tmp_path: Path) -> Directory:
    """Return an empty folder."""
    return Directory.from_url(str(tmp_path))


@pytest.fixture
def table(folder: Directory) -> Callable[..., TableFile]:
    """Return a function that stores a table under a name."""

    def store(stem: str, rows: pl.DataFrame | pa.Table | dict[str, list[object]]) -> TableFile:
        if isinstance(rows, pl.DataFrame):
            rows = rows.to_arrow()
        elif isinstance(rows, dict):
            rows = pa.table(rows)
        with folder.create(f"{stem}.parquet") as file:
            pq.write_table(rows, file)
        return TableFile(directory=folder, path=f"{stem}.parquet", stem=stem)

    return store
