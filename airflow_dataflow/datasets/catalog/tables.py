"""Tables of the catalog; a change here needs a migration in ``migrations/versions``."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, ForeignKeyConstraint, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

VERSION_TABLE = "dataflow_schema_version"

versions = Table(
    "dataflow_versions",
    metadata,
    Column("dataset", String(250), primary_key=True, comment="name of the dataset"),
    Column("version", String(23), primary_key=True, comment="version id, sorts by time"),
    Column("kind", String(16), nullable=False, comment="dataset or model"),
    Column("fingerprint", String(64), nullable=False, comment="SHA-256 of what decides the content"),
    Column("rows_in", BigInteger, nullable=False),
    Column("rows_out", BigInteger, nullable=False),
    Column("rows_quarantined", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False, comment="bytes of all files but the manifest"),
    Column("files", Integer, nullable=False),
    Column("manifest", Text, nullable=False, comment="the manifest, as stored beside the files"),
    Index("dataflow_versions_fingerprint", "dataset", "fingerprint"),
)

replicas = Table(
    "dataflow_replicas",
    metadata,
    Column("dataset", String(250), primary_key=True),
    Column("version", String(23), primary_key=True),
    Column("location", String(250), primary_key=True, comment="tier name, or for a publication its target URL"),
    Column("tier", String(100), nullable=True, comment="tier name; null for a publication, a copy outside the store"),
    Column("url", Text, nullable=False, comment="URL of the version's folder there"),
    Column("verified_at", DateTime, nullable=False, comment="UTC time of the last check of every digest"),
    ForeignKeyConstraint(
        ["dataset", "version"], ["dataflow_versions.dataset", "dataflow_versions.version"], ondelete="CASCADE"
    ),
)
