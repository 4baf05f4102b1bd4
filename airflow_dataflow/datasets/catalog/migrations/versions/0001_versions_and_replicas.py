"""Versions and their replicas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first two tables."""
    op.create_table(
        "dataflow_versions",
        sa.Column("dataset", sa.String(250), primary_key=True, comment="name of the dataset"),
        sa.Column("version", sa.String(23), primary_key=True, comment="version id, sorts by time"),
        sa.Column("kind", sa.String(16), nullable=False, comment="dataset or model"),
        sa.Column("fingerprint", sa.String(64), nullable=False, comment="SHA-256 of what decides the content"),
        sa.Column("rows_in", sa.BigInteger, nullable=False),
        sa.Column("rows_out", sa.BigInteger, nullable=False),
        sa.Column("rows_quarantined", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="bytes of all files but the manifest"),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False, comment="the manifest, as stored beside the files"),
    )
    op.create_index("dataflow_versions_fingerprint", "dataflow_versions", ["dataset", "fingerprint"])
    op.create_table(
        "dataflow_replicas",
        sa.Column("dataset", sa.String(250), primary_key=True),
        sa.Column("version", sa.String(23), primary_key=True),
        sa.Column(
            "location", sa.String(250), primary_key=True, comment="tier name, or for a publication its target URL"
        ),
        sa.Column(
            "tier", sa.String(100), nullable=True, comment="tier name; null for a publication, a copy outside the store"
        ),
        sa.Column("url", sa.Text, nullable=False, comment="URL of the version's folder there"),
        sa.Column("verified_at", sa.DateTime, nullable=False, comment="UTC time of the last check of every digest"),
        sa.ForeignKeyConstraint(
            ["dataset", "version"], ["dataflow_versions.dataset", "dataflow_versions.version"], ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Drop both tables; the manifests keep the truth."""
    op.drop_table("dataflow_replicas")
    op.drop_table("dataflow_versions")
