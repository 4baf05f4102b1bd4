"""Upgrades of the catalog: from an older release, killed, and by several processes at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.migrate import MIGRATIONS, newest_schema_version
from airflow_dataflow.datasets.catalog.tables import VERSION_TABLE
from tests.datasets.catalog.versions import manifest, replica
from tests.killing import at_once, killed_at, steps_of

_MADE = [manifest(day, statistics={"day": day, "note": "数据 🙂"}) for day in range(3)]


def _make_tables_of(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def _make_first_release(url: str) -> None:
    """Make a catalog as the first release wrote it: manifests as text, beside the versions."""
    if url.startswith("sqlite"):
        Catalog(url).database.engine  # noqa: B018 - makes the folder
    _make_tables_of(url, "0001")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for made in _MADE:
            row = {
                "dataset": made.dataset,
                "version": made.version,
                "kind": made.kind,
                "fingerprint": made.fingerprint,
                "manifest": made.to_bytes().decode(),
            }
            numbers = dict.fromkeys(("rows_in", "rows_out", "rows_quarantined", "bytes", "files"), 0)
            columns = [sa.column(name) for name in (*row, *numbers)]
            connection.execute(sa.insert(sa.table("dataflow_versions", *columns)).values(row | numbers))
            copy = replica(made)
            connection.execute(
                sa.text(
                    "INSERT INTO dataflow_replicas (dataset, version, location, tier, url, verified_at) "
                    "VALUES (:dataset, :version, :location, :tier, :url, '2026-11-23 02:15:00')"
                ),
                {**copy.__dict__},
            )


def _upgrade(url: str) -> str:
    return Catalog(url).upgrade()


def _check(url: str) -> None:
    catalog = Catalog(url)
    assert catalog.manifests("support/dialogs") == _MADE[::-1]
    assert [catalog.replicas(made.dataset, made.version) for made in _MADE] == [[replica(made)] for made in _MADE]
    assert catalog.reads() == []
    columns = {column["name"] for column in sa.inspect(catalog.engine).get_columns("dataflow_versions")}
    assert "manifest" not in columns


def test_an_upgrade_keeps_what_the_first_release_wrote(catalog_url: str) -> None:
    _make_first_release(catalog_url)
    assert _upgrade(catalog_url) == newest_schema_version()
    _check(catalog_url)


def test_an_upgrade_that_is_killed_anywhere_is_finished_by_the_next(
    catalog_url: str,
) -> None:
    engine = sa.create_engine(catalog_url, poolclass=sa.NullPool)

    def kill(step: int) -> bool:
        with engine.connect() as connection:
            for table in ("manifests", "reads", "replicas", "versions", "schema_version"):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS dataflow_{table}")
            connection.commit()
        _make_first_release(catalog_url)
        return killed_at(step, _upgrade, catalog_url)

    if catalog_url.startswith("sqlite"):
        _make_first_release(catalog_url)
    states = set()
    for _ in steps_of(kill, first=1, every=6):
        with engine.connect() as connection:
            found = sa.inspect(connection)
            states.add((found.has_table("dataflow_reads"), found.has_table("dataflow_manifests")))
        assert _upgrade(catalog_url) == newest_schema_version()
        _check(catalog_url)
    assert (False, False) in states
    if engine.dialect.name == "mysql":
        assert len(states) > 1, "MySQL keeps what a killed upgrade has done"
    else:
        assert states <= {(False, False), (True, True)}, "all or nothing"


def test_processes_that_upgrade_at_once_do_it_once(catalog_url: str) -> None:
    _make_first_release(catalog_url)
    assert at_once(*[(_upgrade, (catalog_url,))] * 4) == [newest_schema_version()] * 4
    _check(catalog_url)
    engine = sa.create_engine(catalog_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {VERSION_TABLE}").scalar() == 1
