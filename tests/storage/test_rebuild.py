"""A catalog that is lost is made anew from storage, on every database and beside running tasks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.storage.rebuild import rebuild
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.rebalance import copy_version
from tests.storage.versions import DATASET, FIRST, SECOND, check_catalog, make_version, open_store


def _lose(url: str) -> None:
    """Lose all that the database holds."""
    if url.startswith("sqlite"):
        Path(str(sa.make_url(url).database)).unlink()
        return
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in ("manifests", "replicas", "reads", "versions", "schema_version"):
            connection.exec_driver_sql(f"DROP TABLE dataflow_{table}")


def test_a_lost_catalog_comes_back_whole(catalog_url: str, tmp_path: Path) -> None:
    store = open_store(tmp_path, url=catalog_url)
    made = [make_version(store, FIRST + timedelta(days=day)) for day in range(5)]
    copy_version(store, made[0].reference, "cold")
    before = (store.catalog.manifests(DATASET), store.catalog.holdings())
    _lose(catalog_url)
    store = open_store(tmp_path, url=catalog_url)
    assert store.catalog.datasets() == []
    told = []
    report = rebuild(store, progress=lambda *what: told.append(what))
    assert (report.copies, report.forgotten, report.broken) == (6, 0, ())
    assert (store.catalog.manifests(DATASET), store.catalog.holdings()) == before
    assert told == [("rebuild", number, 6, "versions") for number in range(1, 7)]
    check_catalog(store)


def test_more_versions_than_fit_in_a_batch_are_all_recorded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(7):
        make_version(store, FIRST + timedelta(days=day))
    before = store.catalog.holdings()
    monkeypatch.setattr("airflow_dataflow.storage.rebuild._BATCH_VERSIONS", 3)
    _lose(f"sqlite:///{tmp_path}/catalog.db")
    store = open_store(tmp_path)
    assert rebuild(store).copies == 7
    assert store.catalog.holdings() == before


def test_a_copy_that_is_moved_away_during_a_rebuild_is_not_brought_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_version(store, FIRST)
    _lose(f"sqlite:///{tmp_path}/catalog.db")
    store = open_store(tmp_path)
    original = Store.stored_manifest

    def read_and_move(self: Store, tier: Tier, dataset: str, version: str) -> Manifest | None:
        manifest = original(self, tier, dataset, version)
        if tier.name == "hot":
            self.remove_copy(tier, dataset, version)
        return manifest

    monkeypatch.setattr(Store, "stored_manifest", read_and_move)
    assert rebuild(store).copies == 0
    assert store.catalog.replicas(DATASET, made.version) == []


def test_a_row_without_files_goes_and_files_without_a_row_come(store: Store, tmp_path: Path) -> None:
    first, second = make_version(store, FIRST), make_version(store, SECOND)
    store.catalog.remove(DATASET, second.version)
    store.remove_copy(store.hot, DATASET, first.version)
    report = rebuild(store)
    assert (report.copies, report.forgotten) == (1, 1)
    assert store.catalog.manifests(DATASET) == [second]


def test_a_manifest_of_another_version_is_named_as_broken(store: Store, tmp_path: Path) -> None:
    first, second = make_version(store, FIRST), make_version(store, SECOND)
    folder = tmp_path / "hot" / DATASET
    (folder / first.version / MANIFEST_NAME).write_bytes((folder / second.version / MANIFEST_NAME).read_bytes())
    report = rebuild(store)
    assert report.copies == 1
    assert f"is that of {second.reference}" in report.broken[0]
    assert len(store.catalog.references(DATASET)) == 2
