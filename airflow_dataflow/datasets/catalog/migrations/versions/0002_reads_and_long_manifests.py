"""Who has read what, and manifests of any length: compressed, in parts that every database takes."""

from __future__ import annotations

import sqlalchemy as sa
import zstandard
from alembic import op

from airflow_dataflow.datasets.catalog.migrations.steps import (
    BYTES,
    LONG_TEXT,
    MOMENT,
    create_index,
    create_table,
    drop_table,
    has_column,
    name_of,
)

revision = "0002"
down_revision = "0001"

_PART_BYTES = 4 << 20
_versions = sa.table(
    "dataflow_versions",
    sa.column("dataset", sa.String),
    sa.column("version", sa.String),
    sa.column("manifest", sa.Text),
)
_parts = sa.table(
    "dataflow_manifests",
    sa.column("dataset", sa.String),
    sa.column("version", sa.String),
    sa.column("part", sa.Integer),
    sa.column("content", sa.LargeBinary),
)


def upgrade() -> None:
    """Create both tables, and move the manifests."""
    _create_reads()
    create_table(
        "dataflow_manifests",
        sa.Column("dataset", name_of(250), primary_key=True),
        sa.Column("version", name_of(23), primary_key=True),
        sa.Column("part", sa.SmallInteger, primary_key=True, autoincrement=False, comment="place of the part, from 0"),
        sa.Column(
            "content",
            BYTES,
            nullable=False,
            comment="part of the manifest as stored beside the files, compressed by Zstandard",
        ),
        sa.ForeignKeyConstraint(
            ["dataset", "version"], ["dataflow_versions.dataset", "dataflow_versions.version"], ondelete="CASCADE"
        ),
    )
    if has_column("dataflow_versions", "manifest"):
        _move_manifests()
        op.drop_column("dataflow_versions", "manifest")


def _create_reads() -> None:
    create_table(
        "dataflow_reads",
        sa.Column("id", name_of(32), primary_key=True, comment="sorts by time"),
        sa.Column("dataset", name_of(250), nullable=False),
        sa.Column("version", name_of(23), nullable=False, comment="version id; the version may be gone by now"),
        sa.Column("tier", name_of(100), nullable=False, comment="tier that it was read from"),
        sa.Column("read_at", MOMENT, nullable=False, comment="UTC time at which reading began"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="bytes that were read"),
        sa.Column("files", sa.Integer, nullable=False, comment="files that were read"),
        sa.Column("purpose", sa.String(16), nullable=False, comment="use, publish, move or verify"),
        sa.Column("dag_id", sa.String(250), nullable=True),
        sa.Column("run_id", sa.String(250), nullable=True),
        sa.Column("task_id", sa.String(250), nullable=True),
        sa.Column("map_index", sa.Integer, nullable=True),
        sa.Column("try_number", sa.Integer, nullable=True),
        sa.Column("command", sa.String(100), nullable=True, comment="command, where no task has read"),
    )
    create_index("dataflow_reads_dataset", "dataflow_reads", ["dataset", "read_at"])
    create_index("dataflow_reads_time", "dataflow_reads", ["read_at"])


def _keys(connection: sa.Connection) -> list[tuple[str, str]]:
    rows = connection.execute(sa.select(_versions.c.dataset, _versions.c.version)).all()
    return [(row.dataset, row.version) for row in rows]


def _is(table: sa.TableClause, dataset: str, version: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.dataset == dataset, table.c.version == version)


def _move_manifests() -> None:
    """Move them one by one: each may be large, and what an attempt before this one has moved stays moved."""
    connection = op.get_bind()
    for dataset, version in _keys(connection):
        text = connection.execute(sa.select(_versions.c.manifest).where(_is(_versions, dataset, version))).scalar_one()
        packed = zstandard.compress(text.encode())
        parts = [packed[start : start + _PART_BYTES] for start in range(0, len(packed), _PART_BYTES)]
        connection.execute(sa.delete(_parts).where(_is(_parts, dataset, version)))
        for number, content in enumerate(parts):
            values = {"dataset": dataset, "version": version, "part": number, "content": content}
            connection.execute(sa.insert(_parts).values(values))


def downgrade() -> None:
    """Move the manifests back; what was read is forgotten.

    The column stays nullable: to change that, SQLite makes the table anew, and the rows that refer to it go.
    """
    if not has_column("dataflow_versions", "manifest"):
        op.add_column("dataflow_versions", sa.Column("manifest", LONG_TEXT, nullable=True))
    connection = op.get_bind()
    for dataset, version in _keys(connection):
        content = sa.select(_parts.c.content).where(_is(_parts, dataset, version)).order_by(_parts.c.part)
        parts = connection.execute(content).scalars().all()
        text = zstandard.decompress(b"".join(parts)).decode()
        connection.execute(sa.update(_versions).where(_is(_versions, dataset, version)).values(manifest=text))
    drop_table("dataflow_manifests")
    drop_table("dataflow_reads")
