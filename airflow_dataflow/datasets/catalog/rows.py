"""How manifests, replicas and reads become rows of the catalog's tables, and rows become them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa
import zstandard
from sqlalchemy.engine import Connection

from airflow_dataflow.datasets.catalog.reads import Read, Reader
from airflow_dataflow.datasets.catalog.tables import MYSQL, manifests, replicas, versions
from airflow_dataflow.datasets.manifest import Manifest

_PART_BYTES = 4 << 20
"""MariaDB takes statements of 16 MiB, in which a byte may need two."""
_READER_FIELDS = ("dag_id", "run_id", "task_id", "command")


@dataclass(frozen=True)
class Replica:
    """One copy of a version."""

    dataset: str
    """Name of the dataset."""
    version: str
    """Version id."""
    location: str
    """Tier name, or for a publication its target URL."""
    tier: str | None
    """Tier name; ``None`` for a publication, which is a copy outside the store."""
    url: str
    """URL of the version's folder there."""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A copy of a version on a tier, and how much it is."""

    dataset: str
    """Name of the dataset."""
    version: str
    """Version id."""
    tier: str
    """Name of the tier."""
    bytes: int
    """Bytes of its files."""
    files: int
    """Number of its files."""

    @property
    def reference(self) -> str:
        """Fixed reference of the version."""
        return f"{self.dataset}@{self.version}"


def put(connection: Connection, table: sa.Table, key: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Insert a row, or replace what the one with this key says; of two writers at once, the later one counts."""
    if connection.dialect.name in MYSQL:
        from sqlalchemy.dialects.mysql import insert as mysql_insert

        connection.execute(mysql_insert(table).values(**key, **described).on_duplicate_key_update(**described))
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(table).values(**key, **described)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(described)))


def put_manifest(connection: Connection, manifest: Manifest) -> None:
    """Record a version."""
    key = {"dataset": manifest.dataset, "version": manifest.version}
    described = {
        "kind": manifest.kind,
        "fingerprint": manifest.fingerprint,
        "rows_in": manifest.rows_in,
        "rows_out": manifest.rows_out,
        "rows_quarantined": manifest.rows_quarantined,
        "bytes": manifest.total_bytes,
        "files": len(manifest.files),
    }
    # The version's row comes first: whoever else records the same version waits here.
    put(connection, versions, key, described)
    packed = zstandard.compress(manifest.to_bytes())
    starts = range(0, len(packed), _PART_BYTES)
    for part, start in enumerate(starts):
        put(connection, manifests, {**key, "part": part}, {"content": packed[start : start + _PART_BYTES]})
    beyond = sa.and_(is_version(manifests, manifest.dataset, manifest.version), manifests.c.part >= len(starts))
    connection.execute(manifests.delete().where(beyond))


def put_replica(connection: Connection, replica: Replica) -> None:
    """Record a copy of a version, checked just now."""
    key = {"dataset": replica.dataset, "version": replica.version, "location": replica.location}
    put(connection, replicas, key, {"tier": replica.tier, "url": replica.url, "verified_at": now()})


def now() -> datetime:
    """Return the time, in UTC and without a zone, as the tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


def is_version(table: sa.Table, dataset: str, version: str) -> sa.ColumnElement[bool]:
    """Return the condition that a row belongs to a version."""
    return sa.and_(table.c.dataset == dataset, table.c.version == version)


def parts_of(chosen: sa.Select[Any]) -> sa.Select[Any]:
    """Return the query for the manifests of the versions that ``chosen`` finds, newest first.

    :param chosen: a query for columns of ``dataflow_versions``.
    """
    found = chosen.with_only_columns(versions.c.dataset, versions.c.version).subquery()
    same = sa.and_(manifests.c.dataset == found.c.dataset, manifests.c.version == found.c.version)
    return (
        sa.select(manifests)
        .select_from(found.join(manifests, same))
        .order_by(manifests.c.dataset, manifests.c.version.desc(), manifests.c.part)
    )


def manifests_from(rows: Iterable[sa.Row[Any]]) -> Iterator[Manifest]:
    """Put parts together."""
    for (dataset, version), parts in groupby(rows, key=lambda row: (row.dataset, row.version)):
        packed = b"".join(part.content for part in parts)
        yield Manifest.from_bytes(zstandard.decompress(packed), f"catalog row of {dataset}@{version}")


def replica_from(row: sa.Row[Any]) -> Replica:
    """Return the copy that a row describes."""
    return Replica(dataset=row.dataset, version=row.version, location=row.location, tier=row.tier, url=row.url)


def read_rows(found: Sequence[Read]) -> list[dict[str, Any]]:
    """Return the rows of reads."""
    return [
        {
            "id": read.id,
            "dataset": read.dataset,
            "version": read.version,
            "tier": read.tier,
            "read_at": read.at.astimezone(UTC).replace(tzinfo=None),
            "bytes": read.bytes,
            "files": read.files,
            "purpose": read.purpose,
            "map_index": read.reader.map_index,
            "try_number": read.reader.try_number,
            **{name: _shortened(name, getattr(read.reader, name)) for name in _READER_FIELDS},
        }
        for read in found
    ]


def _shortened(name: str, value: str | None) -> str | None:
    return value if value is None else value[: 100 if name == "command" else 250]


def read_from(row: sa.Row[Any]) -> Read:
    """Return the read that a row describes."""
    reader = Reader(
        map_index=row.map_index, try_number=row.try_number, **{name: getattr(row, name) for name in _READER_FIELDS}
    )
    return Read(
        id=row.id,
        dataset=row.dataset,
        version=row.version,
        tier=row.tier,
        at=row.read_at.replace(tzinfo=UTC),
        bytes=row.bytes,
        files=row.files,
        purpose=row.purpose,
        reader=reader,
    )
