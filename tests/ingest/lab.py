"""A landing folder, nights that ingest it, and what came out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.storage.store import Store

MOMENT = 1_790_000_000


@dataclass
class Lab:
    """What a test of nights needs."""

    store: Store
    landing: Path

    def land(self, name: str, content: bytes | str | pa.Table, *, moment: int = MOMENT) -> Path:
        """Write a landing file, last changed at a fixed moment."""
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (moment, moment))
        return path

    def night(self, day: int = 1, *, source: str | None = None, **options: Any) -> Manifest:
        """Ingest the landing folder as night number ``day``."""
        at = datetime(2026, 11, day, 2, tzinfo=UTC)
        return ingest(self.store, source or str(self.landing), "raw", at=at, options=IngestOptions(**options))

    def tables(self, manifest: Manifest, folder: str = "data") -> list[pa.Table]:
        """Return the tables of a version's folder, in the order of their paths."""
        directory = self.store.directory(manifest)
        entries = [entry for entry in manifest.files_under(folder) if entry.rows is not None]
        tables = [pq.read_table(directory.path(entry.path), partitioning=None) for entry in entries]
        assert [entry.rows for entry in entries] == [table.num_rows for table in tables]
        return tables

    def rows(self, manifest: Manifest) -> list[dict[str, Any]]:
        """Return the version's rows, and check that they are as many as the manifest says."""
        tables = self.tables(manifest)
        rows = pa.concat_tables(tables, promote_options="default").to_pylist() if tables else []
        assert len(rows) == manifest.rows_out
        return rows

    def quarantine(self, manifest: Manifest) -> list[tuple[str, str, str, str]]:
        """Return row id, reason, value and raw text of the quarantined rows, and check that they are all there."""
        rows = [row for table in self.tables(manifest, "quarantine") for row in table.to_pylist()]
        assert len(rows) == manifest.rows_quarantined
        assert {row["rule"] for row in rows} <= {"ingest"}
        return [(row["row_id"], row["reason"], row["value"], row["raw"]) for row in rows]

    def content(self, manifest: Manifest) -> dict[str, bytes]:
        """Return every byte of a version."""
        directory = self.store.directory(manifest)
        return {path: directory.read(path) for path in directory.files()}


def sources(manifest: Manifest) -> dict[str, tuple[int, int, bool]]:
    """Return rows in, rows out, and whether the rows were taken over, by path."""
    return {one.path: (one.rows_in, one.rows_out, one.carried_from is not None) for one in manifest.sources}


def reasons(manifest: Manifest) -> dict[str, str | None]:
    """Return why files were refused, by path; ``None`` for those that were not."""
    return {one.path: one.reason for one in manifest.sources}
