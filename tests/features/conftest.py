"""Versions of cleaned rows to extract features from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from airflow_dataflow.datasets.manifest import Manifest, Rows, fingerprint_of
from airflow_dataflow.engines.tables import TableWriters
from airflow_dataflow.storage.store import Store

NIGHTS = tuple(datetime(2026, 11, 23, 2, tzinfo=UTC) + timedelta(days=day) for day in range(5))


@pytest.fixture
def nights() -> tuple[datetime, ...]:
    """Return the moments of five nights."""
    return NIGHTS


@pytest.fixture
def cleaned(store: Store) -> Callable[..., Manifest]:
    """Return a function that commits a version of the dataset ``clean`` with the given files."""

    def make(files: Mapping[str, pl.DataFrame], night: int = 0) -> Manifest:
        rows = sum(len(frame) for frame in files.values())
        fingerprint = fingerprint_of([night, sorted(files)])
        with store.draft("clean", at=NIGHTS[night], fingerprint=fingerprint) as draft:
            for stem, frame in files.items():
                with TableWriters(stem, draft.create) as writers:
                    writers.write("data", frame)
            return draft.commit(Rows(rows_in=rows, rows_out=rows))

    return make


@pytest.fixture
def features_of(store: Store) -> Callable[..., pl.DataFrame]:
    """Return a function that reads the feature rows of a version, with their side, in the order of ids."""

    def read(manifest: Manifest) -> pl.DataFrame:
        folder = store.directory(manifest)
        frames = [
            pl.read_parquet(folder.read(entry.path)).with_columns(pl.lit(entry.path.split("/")[1]).alias("side"))
            for entry in manifest.files_under("data")
        ]
        return pl.concat(frames).sort("row_id")

    return read
