"""``dataflow datasets``, ``catalog`` and ``tiers`` on a real store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.rebalance import copy_version

Dataflow = Callable[..., "Outcome"]  # noqa: F821 - the class of conftest


def test_list_shows_each_dataset_with_its_newest_version(
    dataflow: Dataflow, store_file: Path, version: Manifest
) -> None:
    outcome = dataflow("datasets", "list", "--store", store_file, "--format", "json")
    assert outcome.code == 0
    assert outcome.json == [
        {
            "dataset": "support/raw",
            "kind": "dataset",
            "versions": 1,
            "newest": version.version,
            "rows": 1,
            "quarantined": 1,
            "bytes": 7,
            "places": ["hot"],
        }
    ]
    assert "support/raw" in dataflow("datasets", "list", "--store", store_file).out


def test_list_of_an_empty_store_says_so(dataflow: Dataflow, store_file: Path) -> None:
    assert dataflow("datasets", "list", "--store", store_file).out == "no datasets yet\n"
    assert dataflow("datasets", "list", "--store", store_file, "--format", "json").json == []


def test_show_prints_the_manifest(dataflow: Dataflow, store_file: Path, version: Manifest) -> None:
    outcome = dataflow("datasets", "show", "support/raw@latest", "--store", store_file, "--format", "json")
    assert Manifest.model_validate(outcome.json) == version
    table = dataflow("datasets", "show", "support/raw", "--store", store_file).out
    assert version.reference in table
    assert "empty" in table


def test_show_of_an_unknown_dataset_is_bad_input_with_a_hint(
    dataflow: Dataflow, store_file: Path, version: Manifest
) -> None:
    outcome = dataflow("datasets", "show", "support/row", "--store", store_file)
    assert outcome.code == 2
    assert outcome.error == "error: no dataset named 'support/row'; did you mean 'support/raw'?\n"


def test_verify_fails_when_a_file_has_changed(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    copy_version(store, version.reference, "cold")
    whole = dataflow("datasets", "verify", "--store", store_file, "--format", "json")
    assert whole.code == 0
    assert whole.json == [{"version": version.reference, "whole": True, "found": "whole on cold, hot"}]
    Path(store.directory(version).root, "data/a.bin").write_bytes(b"one raw")
    broken = dataflow("datasets", "verify", "support/raw", "--store", store_file, "--format", "json")
    assert broken.code == 1
    assert broken.json[0]["whole"] is False
    assert "data/a.bin" in broken.json[0]["found"]


def test_sweep_removes_a_folder_without_a_manifest_after_its_grace(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    folder = Path(store.directory(version).root)
    (folder / MANIFEST_NAME).unlink()
    assert dataflow("datasets", "sweep", "--store", store_file, "--format", "json").json == {"removed": []}
    outcome = dataflow("datasets", "sweep", "--grace-hours", "0", "--store", store_file)
    assert "removed 1 folders" in outcome.out
    assert not folder.exists()


def test_rebuild_restores_a_lost_catalog(
    dataflow: Dataflow, store_file: Path, version: Manifest, tmp_path: Path
) -> None:
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    assert dataflow("catalog", "rebuild", "--store", store_file, "--format", "json").json == {"copies": 1}
    assert version.version in dataflow("datasets", "show", "support/raw", "--store", store_file).out


def test_a_broken_copy_is_mended_from_another_tier(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    copy_version(store, version.reference, "cold")
    shutil.rmtree(store.directory(version).root)
    assert dataflow("datasets", "verify", "--store", store_file).code == 1
    for arguments in (("catalog", "rebuild"), ("transfer", version.reference, "hot"), ("datasets", "verify")):
        outcome = dataflow(*arguments, "--store", store_file)
        assert outcome.code == 0, outcome.error
    assert store.directory(version).read("data/a.bin") == b"one row"


def test_a_catalog_of_another_release_is_refused_with_the_command_that_upgrades_it(
    dataflow: Dataflow, store_file: Path, version: Manifest, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/catalog.db")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE dataflow_schema_version SET version_num = '0000'"))
    engine.dispose()
    refused = dataflow("datasets", "list", "--store", store_file)
    assert refused.code == 2
    assert "dataflow catalog upgrade" in refused.error


def test_upgrade_says_which_schema_the_catalog_has_now(dataflow: Dataflow, store_file: Path) -> None:
    schema = dataflow("catalog", "upgrade", "--store", store_file, "--format", "json").json["schema"]
    assert dataflow("catalog", "upgrade", "--store", store_file).out == f"the catalog has schema {schema}\n"
    assert dataflow("datasets", "list", "--store", store_file).code == 0


def test_tiers_status_counts_versions_and_bytes(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    copy_version(store, version.reference, "cold")
    rows = dataflow("tiers", "status", "--store", store_file, "--format", "json").json
    assert [(row["tier"], row["class"], row["versions"], row["bytes"]) for row in rows] == [
        ("hot", "hot", 1, 7),
        ("warm", "warm", 0, 0),
        ("cold", "cold", 1, 7),
    ]
    assert all(row["free_bytes"] > 0 for row in rows)
