"""Tables of the catalog; a change here needs a migration in ``migrations/versions``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql

metadata = MetaData()

VERSION_TABLE = "dataflow_schema_version"

MYSQL = ("mysql", "mariadb")
"""SQLAlchemy's names of the databases that speak MySQL."""

OPTIONS: dict[str, Any] = {
    f"{name}_{option}": value
    for name in MYSQL
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}
"""Options of every table: where a database compares text by its own rules, ``a`` and ``A`` are still two names."""


def name_of(length: int) -> String:
    """Return the type of a name: it compares and sorts by its characters, whatever the language of the database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


MOMENT = DateTime().with_variant(mysql.DATETIME(fsp=6), *MYSQL)
"""A UTC time, to the microsecond."""

versions = Table(
    "dataflow_versions",
    metadata,
    Column("dataset", name_of(250), primary_key=True, comment="name of the dataset"),
    Column("version", name_of(23), primary_key=True, comment="version id, sorts by time"),
    Column("kind", String(16), nullable=False, comment="dataset or model"),
    Column("fingerprint", String(64), nullable=False, comment="SHA-256 of what decides the content"),
    Column("rows_in", BigInteger, nullable=False),
    Column("rows_out", BigInteger, nullable=False),
    Column("rows_quarantined", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False, comment="bytes of all files but the manifest"),
    Column("files", Integer, nullable=False),
    Index("dataflow_versions_fingerprint", "dataset", "fingerprint"),
    **OPTIONS,
)

manifests = Table(
    "dataflow_manifests",
    metadata,
    Column("dataset", name_of(250), primary_key=True),
    Column("version", name_of(23), primary_key=True),
    Column("part", SmallInteger, primary_key=True, autoincrement=False, comment="place of the part, from 0"),
    Column(
        "content",
        LargeBinary().with_variant(mysql.MEDIUMBLOB(), *MYSQL),
        nullable=False,
        comment="part of the manifest as stored beside the files, compressed by Zstandard",
    ),
    ForeignKeyConstraint(
        ["dataset", "version"], ["dataflow_versions.dataset", "dataflow_versions.version"], ondelete="CASCADE"
    ),
    **OPTIONS,
)

replicas = Table(
    "dataflow_replicas",
    metadata,
    Column("dataset", name_of(250), primary_key=True),
    Column("version", name_of(23), primary_key=True),
    Column("location", name_of(250), primary_key=True, comment="tier name, or for a publication its target URL"),
    Column("tier", name_of(100), nullable=True, comment="tier name; null for a publication, a copy outside the store"),
    Column("url", Text, nullable=False, comment="URL of the version's folder there"),
    Column("verified_at", MOMENT, nullable=False, comment="UTC time of the last check of every digest"),
    ForeignKeyConstraint(
        ["dataset", "version"], ["dataflow_versions.dataset", "dataflow_versions.version"], ondelete="CASCADE"
    ),
    **OPTIONS,
)

reads = Table(
    "dataflow_reads",
    metadata,
    Column("id", name_of(32), primary_key=True, comment="sorts by time"),
    Column("dataset", name_of(250), nullable=False),
    Column("version", name_of(23), nullable=False, comment="version id; the version may be gone by now"),
    Column("tier", name_of(100), nullable=False, comment="tier that it was read from"),
    Column("read_at", MOMENT, nullable=False, comment="UTC time at which reading began"),
    Column("bytes", BigInteger, nullable=False, comment="bytes that were read"),
    Column("files", Integer, nullable=False, comment="files that were read"),
    Column("purpose", String(16), nullable=False, comment="use, publish, move or verify"),
    Column("dag_id", String(250), nullable=True),
    Column("run_id", String(250), nullable=True),
    Column("task_id", String(250), nullable=True),
    Column("map_index", Integer, nullable=True),
    Column("try_number", Integer, nullable=True),
    Column("command", String(100), nullable=True, comment="command, where no task has read"),
    Index("dataflow_reads_dataset", "dataset", "read_at"),
    Index("dataflow_reads_time", "read_at"),
    **OPTIONS,
)

transfers = Table(
    "dataflow_transfers",
    metadata,
    Column("id", name_of(32), primary_key=True, comment="digest of what is transferred, from where, to where"),
    Column("target", Text, nullable=False, comment="URL of the target, without credentials"),
    Column("owner", name_of(200), nullable=True, comment="process that is at work on it; null when none is"),
    Column("touched_at", MOMENT, nullable=False, comment="UTC time at which its process was last alive"),
    **OPTIONS,
)

transfer_records = Table(
    "dataflow_transfer_records",
    metadata,
    Column("transfer", name_of(32), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="later records count"),
    Column(
        "content",
        LargeBinary().with_variant(mysql.MEDIUMBLOB(), *MYSQL),
        nullable=False,
        comment="lines of JSON, compressed by Zstandard",
    ),
    ForeignKeyConstraint(["transfer"], ["dataflow_transfers.id"], ondelete="CASCADE"),
    **OPTIONS,
)

link_rates = Table(
    "dataflow_link_rates",
    metadata,
    Column("id", name_of(32), primary_key=True, comment="sorts by time"),
    Column("source", name_of(100), nullable=False, comment="name of the place that has sent"),
    Column("target", name_of(100), nullable=False, comment="name of the place that has received"),
    Column("measured_at", MOMENT, nullable=False, comment="UTC time at which the measurement began"),
    Column("bytes", BigInteger, nullable=False, comment="bytes that were sent"),
    Column("seconds", Double, nullable=False, comment="how long they took"),
    Index("dataflow_link_rates_link", "source", "target", "measured_at"),
    **OPTIONS,
)
