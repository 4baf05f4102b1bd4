"""Versions and their replicas."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.migrations.steps import (
    LONG_TEXT,
    MOMENT,
    create_index,
    create_table,
    drop_table,
    name_of,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first two tables."""
    create_table(
        "dataflow_versions",
        sa.Column("dataset", name_of(250), primary_key=True, comment="name of the dataset"),
        sa.Column("version", name_of(23), primary_key=True, comment="version id, sorts by time"),
        sa.Column("kind", sa.String(16), nullable=False, comment="dataset or model"),
        sa.Column("fingerprint", sa.String(64), nullable=False, comment="SHA-256 of what decides the content"),
        sa.Column("rows_in", sa.BigInteger, nullable=False),
        sa.Column("rows_out", sa.BigInteger, nullable=False),
        sa.Column("rows_quarantined", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="bytes of all files but the manifest"),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("manifest", LONG_TEXT, nullable=False, comment="the manifest, as stored beside the files"),
    )
    create_index("dataflow_versions_fingerprint", "dataflow_versions", ["dataset", "fingerprint"])
    create_table(
        "dataflow_replicas",
        sa.Column("dataset", name_of(250), primary_key=True),
        sa.Column("version", name_of(23), primary_key=True),
        sa.Column("location", name_of(250), primary_key=True, comment="tier name, or for a publication its target URL"),
        sa.Column(
            "tier", name_of(100), nullable=True, comment="tier name; null for a publication, a copy outside the store"
        ),
        sa.Column("url", sa.Text, nullable=False, comment="URL of the version's folder there"),
        sa.Column("verified_at", MOMENT, nullable=False, comment="UTC time of the last check of every digest"),
        sa.ForeignKeyConstraint(
            ["dataset", "version"], ["dataflow_versions.dataset", "dataflow_versions.version"], ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Drop both tables; the manifests keep the truth."""
    drop_table("dataflow_replicas")
    drop_table("dataflow_versions")
