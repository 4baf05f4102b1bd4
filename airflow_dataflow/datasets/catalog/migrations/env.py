"""Alembic's entry: run the migrations on the connection that the catalog hands over."""

from __future__ import annotations

from alembic import context

from airflow_dataflow.datasets.catalog.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
