"""``dataflow datasets``, ``catalog`` and ``tiers`` on a real store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.reads import Read
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


def _damage(path: Path) -> None:
    path.unlink()  # on one disk, copies share their bytes
    path.write_bytes(b"one raw")


def test_verify_fails_when_a_file_has_changed(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    copy_version(store, version.reference, "cold")
    whole = dataflow("datasets", "verify", "--store", store_file, "--format", "json")
    assert whole.code == 0
    assert [(row["version"], row["tier"], row["state"]) for row in whole.json] == [
        (version.reference, "cold", "whole"),
        (version.reference, "hot", "whole"),
    ]
    _damage(Path(store.directory(version).root, "data/a.bin"))
    broken = dataflow("datasets", "verify", "support/raw", "--store", store_file, "--format", "json")
    assert broken.code == 1
    cold, hot = broken.json
    assert (cold["state"], hot["state"], hot["files"]) == ("whole", "damaged", ["data/a.bin"])
    assert "/hot/support/raw/" in hot["found"]
    assert hot["remedy"] == f"dataflow datasets verify {version.reference} --repair"
    assert dataflow("datasets", "verify", version.reference, "--tier", "cold", "--store", store_file).code == 0


def test_verify_mends_a_copy_from_another_one(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    copy_version(store, version.reference, "cold")
    folder = Path(store.directory(version).root)
    _damage(folder / "data" / "a.bin")
    (folder / MANIFEST_NAME).unlink()
    rows = dataflow("datasets", "verify", "--repair", "--store", store_file, "--format", "json").json
    assert [(row["tier"], row["state"]) for row in rows] == [("cold", "whole"), ("hot", "mended")]
    assert (folder / "data" / "a.bin").read_bytes() == b"one row"
    assert dataflow("datasets", "verify", "--store", store_file).code == 0


def test_verify_says_what_to_do_when_there_is_no_other_copy(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    Path(store.directory(version).root, "data/a.bin").unlink()
    outcome = dataflow("datasets", "verify", "--repair", "--store", store_file, "--format", "json")
    assert outcome.code == 1
    assert outcome.json[0]["state"] == "damaged"
    assert "data/a.bin is missing" in outcome.json[0]["found"]
    assert outcome.json[0]["remedy"].startswith("no other copy")


def test_verify_of_what_is_not_there_is_bad_input(dataflow: Dataflow, store_file: Path, version: Manifest) -> None:
    for arguments, hint in (
        (("support/row",), "did you mean 'support/raw'"),
        (("--tier", "hod"), "did you mean 'hot'"),
    ):
        outcome = dataflow("datasets", "verify", *arguments, "--store", store_file)
        assert outcome.code == 2
        assert hint in outcome.error


def test_sweep_removes_a_folder_without_a_manifest_after_its_grace(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    folder = Path(store.directory(version).root)
    (folder / MANIFEST_NAME).unlink()
    assert dataflow("datasets", "sweep", "--store", store_file, "--format", "json").json == {
        "removed": [],
        "reads_forgotten": 0,
    }
    outcome = dataflow("datasets", "sweep", "--grace-hours", "0", "--store", store_file)
    assert "removed 1 unfinished folders and files" in outcome.out
    assert not folder.exists()


def test_rebuild_restores_a_lost_catalog(
    dataflow: Dataflow, store_file: Path, version: Manifest, tmp_path: Path
) -> None:
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    assert dataflow("catalog", "rebuild", "--store", store_file, "--format", "json").json == {
        "copies": 1,
        "forgotten": 0,
        "broken": [],
    }
    assert version.version in dataflow("datasets", "show", "support/raw", "--store", store_file).out


def test_rebuild_ends_with_code_1_when_it_had_to_skip_a_manifest(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest
) -> None:
    Path(store.directory(version).root, MANIFEST_NAME).write_bytes(b"{")
    outcome = dataflow("catalog", "rebuild", "--store", store_file)
    assert outcome.code == 1
    assert MANIFEST_NAME in outcome.out
    assert "1 manifests cannot be read and were skipped: 'dataflow datasets verify --repair'" in outcome.out
    assert dataflow("datasets", "verify", "--repair", "--store", store_file).code == 0
    assert dataflow("catalog", "rebuild", "--store", store_file).code == 0


def test_commands_leave_a_record_of_what_they_read(
    dataflow: Dataflow, store_file: Path, store: Store, version: Manifest, tmp_path: Path
) -> None:
    assert dataflow("datasets", "reads", "--store", store_file).out == "nothing was read in that time\n"
    assert dataflow("transfer", version.reference, str(tmp_path / "public"), "--store", store_file).code == 0
    assert dataflow("datasets", "verify", "--store", store_file).code == 0
    rows = dataflow("datasets", "reads", "support/raw", "--store", store_file, "--format", "json").json
    whole = len(store.directory(version).read(MANIFEST_NAME)) + 7
    assert [(row["purpose"], row["reader"], row["tier"], row["bytes"], row["files"]) for row in rows] == [
        ("verify", "dataflow datasets verify", "hot", 7, 1),
        ("publish", "dataflow transfer", "hot", whole, 2),
    ]
    shown = dataflow("datasets", "show", "support/raw", "--store", store_file).out
    assert "on hot, to publish, by dataflow transfer" in shown
    assert dataflow("datasets", "reads", "support/other", "--store", store_file, "--format", "json").json == []


def test_sweep_forgets_old_reads(dataflow: Dataflow, store_file: Path, store: Store) -> None:
    for days in (500, 1, 0):
        at = datetime.now(UTC) - timedelta(days=days)
        read = Read(dataset="support/raw", version="20261123T021500Z-4f2a9c", tier="hot", at=at, bytes=1, files=1)
        store.catalog.record_reads([read])
    assert "forgot 1 old reads" in dataflow("datasets", "sweep", "--store", store_file).out
    again = dataflow("datasets", "sweep", "--keep-reads-days", "0.5", "--store", store_file, "--format", "json")
    assert again.json == {"removed": [], "reads_forgotten": 1}


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
