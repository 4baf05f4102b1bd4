"""Migrations: they lead to exactly the tables that the code uses, and back."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.migrate import MIGRATIONS, newest_schema_version
from airflow_dataflow.datasets.catalog.tables import VERSION_TABLE, metadata


def _differences(engine: sa.Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        return compare_metadata(context, metadata)


def test_the_migrations_make_the_tables_that_the_code_uses(catalog_url: str) -> None:
    catalog = Catalog(catalog_url)
    assert _differences(catalog.engine) == []
    found = sa.inspect(catalog.engine)
    for table in metadata.tables.values():
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
        assert {c["name"]: c["nullable"] for c in found.get_columns(table.name)} == {
            column.name: column.nullable for column in table.columns
        }
    (key,) = found.get_foreign_keys("dataflow_replicas")
    assert (key["referred_table"], key["options"]) == ("dataflow_versions", {"ondelete": "CASCADE"})


def test_a_column_that_no_migration_makes_is_noticed(catalog_url: str) -> None:
    catalog = Catalog(catalog_url)
    with catalog.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dataflow_versions DROP COLUMN files")
    assert len(_differences(catalog.engine)) == 1


def test_the_migrations_are_one_chain_named_by_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [Path(script.path).name.partition("_")[0] for script in scripts] == [script.revision for script in scripts]
    assert scripts[0].revision == newest_schema_version()
    assert sorted((script.revision for script in scripts), reverse=True) == [script.revision for script in scripts]


def test_a_migration_can_be_taken_back(catalog_url: str) -> None:
    from alembic import command

    catalog = Catalog(catalog_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with catalog.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    assert sa.inspect(catalog.engine).get_table_names() == [VERSION_TABLE]
    assert catalog.upgrade() == newest_schema_version()
    assert _differences(catalog.engine) == []
