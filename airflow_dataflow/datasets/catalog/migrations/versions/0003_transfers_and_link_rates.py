"""Journals of transfers that are under way, and how fast the links between places have been."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.migrations.steps import (
    BYTES,
    MOMENT,
    create_index,
    create_table,
    drop_table,
    name_of,
)

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    create_table(
        "dataflow_transfers",
        sa.Column("id", name_of(32), primary_key=True, comment="digest of what is transferred, from where, to where"),
        sa.Column("target", sa.Text, nullable=False, comment="URL of the target, without credentials"),
        sa.Column("owner", name_of(200), nullable=True, comment="process that is at work on it; null when none is"),
        sa.Column("touched_at", MOMENT, nullable=False, comment="UTC time at which its process was last alive"),
    )
    create_table(
        "dataflow_transfer_records",
        sa.Column("transfer", name_of(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False, comment="later records count"),
        sa.Column("content", BYTES, nullable=False, comment="lines of JSON, compressed by Zstandard"),
        sa.ForeignKeyConstraint(["transfer"], ["dataflow_transfers.id"], ondelete="CASCADE"),
    )
    create_table(
        "dataflow_link_rates",
        sa.Column("id", name_of(32), primary_key=True, comment="sorts by time"),
        sa.Column("source", name_of(100), nullable=False, comment="name of the place that has sent"),
        sa.Column("target", name_of(100), nullable=False, comment="name of the place that has received"),
        sa.Column("measured_at", MOMENT, nullable=False, comment="UTC time at which the measurement began"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="bytes that were sent"),
        sa.Column("seconds", sa.Double, nullable=False, comment="how long they took"),
    )
    create_index("dataflow_link_rates_link", "dataflow_link_rates", ["source", "target", "measured_at"])


def downgrade() -> None:
    """Drop the tables; transfers that are under way begin anew."""
    drop_table("dataflow_link_rates")
    drop_table("dataflow_transfer_records")
    drop_table("dataflow_transfers")
