"""The catalog: what it keeps, who may write at once, and which schema it accepts."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.catalog import Catalog, Replica
from airflow_dataflow.datasets.catalog.tables import VERSION_TABLE
from airflow_dataflow.datasets.manifest import Manifest, fingerprint_of, new_version_id
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from tests.killing import at_once

START = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)


def manifest(number: int, dataset: str = "support/dialogs", **changes: Any) -> Manifest:
    """Return the version of day ``number``."""
    fingerprint = fingerprint_of([dataset, number])
    version = new_version_id(START + timedelta(days=number), fingerprint)
    return Manifest(**{"dataset": dataset, "version": version, "fingerprint": fingerprint} | changes)


def replica(of: Manifest, location: str = "hot", tier: str | None = "hot") -> Replica:
    """Return a copy of a version."""
    return Replica(
        dataset=of.dataset, version=of.version, location=location, tier=tier, url=f"file:///{location}/{of.version}"
    )


@pytest.fixture
def catalog(catalog_url: str) -> Catalog:
    return Catalog(catalog_url)


def test_an_empty_database_gets_its_tables_at_the_first_use(catalog: Catalog) -> None:
    assert catalog.datasets() == []
    with pytest.raises(NotFoundError, match=r"no dataset named 'support/dialogs'$"):
        catalog.resolve("support/dialogs")


@pytest.mark.parametrize(
    ("reference", "number"),
    [("", 2), ("@latest", 2), ("@latest~1", 1), ("@latest~2", 0), (f"@{manifest(1).version}", 1)],
)
def test_references_name_versions_by_their_moment(catalog: Catalog, reference: str, number: int) -> None:
    for day in (1, 0, 2):
        catalog.add(manifest(day), replica(manifest(day)))
    assert catalog.resolve(f"support/dialogs{reference}") == manifest(number)
    assert catalog.resolve(Reference.parse(f"support/dialogs{reference}")) == manifest(number)


def test_what_is_not_there_is_named_with_what_is(catalog: Catalog) -> None:
    made = manifest(0)
    catalog.add(made, replica(made))
    with pytest.raises(NotFoundError, match="no dataset named 'support/dialog'; did you mean 'support/dialogs'"):
        catalog.resolve("support/dialog@latest")
    with pytest.raises(NotFoundError, match=f"latest~1 among the 1 of that dataset; newest: {made.version}"):
        catalog.resolve("support/dialogs@latest~1")


def test_a_version_is_recorded_once_and_its_last_description_counts(catalog: Catalog) -> None:
    made = manifest(0)
    for recorded in (made, made, manifest(0, statistics={"rows": 1})):
        catalog.add(recorded, replica(recorded))
    assert catalog.manifests(made.dataset) == [manifest(0, statistics={"rows": 1})]
    assert catalog.replicas(made.dataset, made.version) == [replica(made)]


def test_the_newest_version_with_a_fingerprint_is_found(catalog: Catalog) -> None:
    older, newer = manifest(0, fingerprint="same"), manifest(1, fingerprint="same")
    for made in (newer, older):
        catalog.add(made, replica(made))
    assert catalog.find("support/dialogs", "same") == newer
    assert catalog.find("support/dialogs", "other") is None
    assert catalog.find("support/other", "same") is None


def test_the_newest_published_version_is_known(catalog: Catalog) -> None:
    made = [manifest(day) for day in range(3)]
    for version in made:
        catalog.add(version, replica(version))
    assert catalog.published("support/dialogs") is None
    for version in (made[1], made[0]):
        catalog.put_replica(replica(version, "s3://public/x", None))
    assert catalog.published("support/dialogs") == made[1]
    assert catalog.published("support/other") is None


def test_copies_come_and_go(catalog: Catalog) -> None:
    made = manifest(0)
    catalog.add(made, replica(made))
    catalog.put_replica(replica(made, "cold", "cold"))
    catalog.put_replica(replica(made, "cold", "cold"))
    assert catalog.replicas(made.dataset, made.version) == [replica(made, "cold", "cold"), replica(made)]
    catalog.remove_replica(replica(made))
    assert catalog.replicas(made.dataset, made.version) == [replica(made, "cold", "cold")]
    catalog.remove(made.dataset, made.version)
    assert catalog.datasets() == catalog.replicas(made.dataset, made.version) == []


def test_a_copy_of_an_unknown_version_is_refused(catalog: Catalog) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        catalog.put_replica(replica(manifest(0)))


# several processes ----------------------------------------------------------------------------


def _write(url: str, worker: int, versions: int) -> str:
    catalog = Catalog(url)
    for number in range(versions):
        mine, everyones = manifest(number, f"support/{worker}"), manifest(number)
        for made in (mine, everyones):
            catalog.add(made, replica(made))
            catalog.put_replica(replica(made, f"s3://public/{worker}", None))
    return "done"


def test_several_processes_write_at_once_and_an_empty_database_too(catalog_url: str) -> None:
    assert at_once(*[(_write, (catalog_url, worker, 5)) for worker in range(4)]) == ["done"] * 4
    catalog = Catalog(catalog_url)
    assert catalog.datasets() == ["support/0", "support/1", "support/2", "support/3", "support/dialogs"]
    for dataset in catalog.datasets():
        found = catalog.manifests(dataset)
        assert len(found) == 5
        copies = 5 if dataset == "support/dialogs" else 2
        assert [len(catalog.replicas(dataset, made.version)) for made in found] == [copies] * 5


def test_a_sqlite_file_that_is_locked_is_waited_for(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/deep/down/catalog.db")
    assert not (tmp_path / "deep").exists()
    assert catalog.datasets() == []
    other = sqlite3.connect(tmp_path / "deep" / "down" / "catalog.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    timer.start()
    catalog.add(manifest(0), replica(manifest(0)))
    timer.join()
    other.close()
    assert catalog.datasets() == ["support/dialogs"]


# schema ---------------------------------------------------------------------------------------


def _set_schema(url: str, revision: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    engine.dispose()


def test_an_older_schema_is_refused_until_the_upgrade(catalog_url: str) -> None:
    Catalog(catalog_url).datasets()
    _set_schema(catalog_url, "0000")
    with pytest.raises(
        InvalidInputError, match="has schema 0000, this release needs 0002: run 'dataflow catalog upgrade'"
    ):
        Catalog(catalog_url).datasets()


def test_a_later_schema_is_refused_and_no_upgrade_touches_it(catalog_url: str) -> None:
    Catalog(catalog_url).datasets()
    _set_schema(catalog_url, "9999")
    for use in (Catalog(catalog_url).datasets, Catalog(catalog_url).upgrade):
        with pytest.raises(InvalidInputError, match="has schema 9999 of a later release, this one knows 0002"):
            use()


def test_an_upgrade_of_an_empty_or_a_current_database_gives_the_newest_schema(catalog: Catalog) -> None:
    assert catalog.upgrade() == "0002"
    made = manifest(0)
    catalog.add(made, replica(made))
    assert catalog.upgrade() == "0002"
    assert catalog.manifests(made.dataset) == [made]
