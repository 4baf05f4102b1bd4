"""``dataflow transfer`` between tiers, to a place outside the store, and between paths."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.file_journal import FileJournal, journal_folder
from airflow_dataflow.transfer.identity import transfer_id
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.journal_log import LogJournal
from airflow_dataflow.transfer.options import TransferOptions
from tests.services.tables import Tables

Dataflow = Callable[..., Any]


def test_a_reference_and_the_name_of_a_tier_copy_the_version_there(
    dataflow: Dataflow, store: Store, store_file: Path, version: Manifest
) -> None:
    outcome = dataflow("transfer", "support/raw@latest", "cold", "--store", store_file, "--format", "json")
    assert outcome.code == 0, outcome.error
    promised = {"bytes_sent", "bytes_resumed", "bytes_skipped", "files", "parts_retried", "seconds"}
    assert set(outcome.json) == promised | {"files_removed", "bytes_stored"}
    assert outcome.json["bytes_sent"] == 7
    assert [replica.location for replica in store.catalog.replicas("support/raw", version.version)] == ["cold", "hot"]


def test_a_reference_and_a_path_publish_the_version(
    dataflow: Dataflow, store: Store, store_file: Path, version: Manifest, tmp_path: Path
) -> None:
    outcome = dataflow("transfer", "support/raw@latest", tmp_path / "public", "--store", store_file)
    assert outcome.code == 0, outcome.error
    assert (tmp_path / "public" / "support" / "raw" / version.version / MANIFEST_NAME).exists()
    assert store.catalog.published("support/raw") == version


def test_paths_copy_files_without_any_store(dataflow: Dataflow, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a.csv").write_text("a\n1\n")
    for skipped in (0, 4):
        outcome = dataflow("transfer", tmp_path / "from", tmp_path / "to", "--format", "json")
        assert outcome.json["bytes_skipped"] == skipped
    assert (tmp_path / "to" / "a.csv").read_text() == "a\n1\n"


@pytest.mark.parametrize("source", ["nowhere/*.csv", "nowhere"])
def test_a_source_that_is_not_there_is_bad_input(dataflow: Dataflow, tmp_path: Path, source: str) -> None:
    outcome = dataflow("transfer", tmp_path / source, tmp_path / "to")
    assert outcome.code == 2
    assert "nowhere" in outcome.error
    assert not (tmp_path / "to").exists()


@pytest.mark.airflow
def test_a_reference_and_a_table_load_the_version(
    dataflow: Dataflow, store: Store, store_file: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.draft("shop/orders", at=datetime(2026, 11, 23, tzinfo=UTC), fingerprint="4f2a9c") as draft:
        with draft.create("data/0.parquet") as file:
            pq.write_table(pa.table({"id": [1, 2]}), file)
        draft.commit(Rows(rows_in=2, rows_out=2))
    url = sa.make_url(tables.url)
    kind = "postgres" if tables.is_postgres else "mysql"
    connection = {"conn_type": kind, "login": url.username, "password": url.password, "host": url.host}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection | {"port": url.port, "schema": url.database}))
    target = f"{url.get_backend_name()}://shop@/orders"
    upsert = ("--mode", "upsert", "--key", "id")
    for options in ((), ("--mode", "append"), ("--key", "id"), upsert, ("--mode", "append")):
        if options == upsert:
            tables.run("ALTER TABLE orders ADD PRIMARY KEY (id)")
        outcome = dataflow("transfer", "shop/orders@latest", target, *options, "--store", store_file)
        assert outcome.code == 0, outcome.error
        assert sorted(tables.run("SELECT id FROM orders")) == [(1,), (2,)]
    outcome = dataflow("transfer", "shop/orders@latest", f"{target}?x=1", "--store", store_file)
    assert (outcome.code, "belong into the Airflow connection" in outcome.error) == (2, True)


# options --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two files of four bytes."""
    (tmp_path / "from").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "from" / name).write_text("a\n1\n")
    return tmp_path / "from"


def test_several_sources_go_below_one_target(dataflow: Dataflow, folder: Path, tmp_path: Path) -> None:
    outcome = dataflow("transfer", folder / "a.csv", folder / "b*", tmp_path / "to", "--format", "json")
    assert outcome.code == 0, outcome.error
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["a.csv", "b.csv"]
    outcome = dataflow("transfer", folder, "support/raw@latest", tmp_path / "to")
    assert (outcome.code, "references and URLs cannot go together" in outcome.error) == (2, True)


def test_a_dry_run_tells_and_does_nothing(dataflow: Dataflow, folder: Path, tmp_path: Path) -> None:
    outcome = dataflow("transfer", folder, tmp_path / "to", "--dry-run", "--format", "json")
    assert (outcome.json["bytes_sent"], (tmp_path / "to").exists()) == (8, False)
    assert not (tmp_path / "state").exists()


def test_a_mirror_removes_what_the_source_has_not_but_never_too_much(
    dataflow: Dataflow, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "to").mkdir()
    for number in range(6):
        (tmp_path / "to" / f"old-{number}").write_text("x")
    refused = dataflow("transfer", folder, tmp_path / "to", "--mirror")
    assert refused.code == 2
    assert len(list((tmp_path / "to").glob("old-*"))) == 6
    outcome = dataflow("transfer", folder, tmp_path / "to", "--mirror", "--most-removed", "1", "--format", "json")
    assert (outcome.code, outcome.json["files_removed"]) == (0, 6), outcome.error
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["a.csv", "b.csv"]


def test_a_limit_holds_and_a_file_of_limits_goes_before_it(dataflow: Dataflow, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "from").mkdir(exist_ok=True)
        (tmp_path / "from" / str(number)).write_bytes(bytes(300_000))
    outcome = dataflow("transfer", tmp_path / "from", tmp_path / "slow", "--limit", "600kB", "--format", "json")
    assert outcome.json["seconds"] > 1
    limits = tmp_path / "limits.yaml"
    limits.write_text("bytes_per_second: 1GB\nparts_at_once: 1\n")
    options = ("--limit", "1", "--limits-file", limits)
    began = time.monotonic()
    assert dataflow("transfer", tmp_path / "from", tmp_path / "fast", *options).code == 0
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "fast"), "'fast' is no size; write one such as 20MB"),
        (("--compress", "best"), "compress is 'best': give 'auto', 'off' or a level from -7 to 19"),
        (("--compress", "20"), "Zstandard levels go from -7 to 19"),
        (("--parts-at-once", "0"), "parts_at_once must be at least 1, got 0"),
        (("--most-removed", "2"), "most_removed_fraction is a share from 0 to 1, got 2"),
        (("--limits-file", "nowhere.yaml"), "limits file 'nowhere.yaml' cannot be read"),
        (("--verify", "never"), "invalid choice: 'never'"),
    ],
)
def test_an_option_that_is_wrong_is_bad_input(
    dataflow: Dataflow, folder: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    outcome = dataflow("transfer", folder, tmp_path / "to", *options)
    assert (outcome.code, (tmp_path / "to").exists()) == (2, False)
    assert message in outcome.error


# journal --------------------------------------------------------------------------------------


def _begun(journal: LogJournal, target: Path) -> str:
    """Leave half a file at a target, as a process that was killed does, and return its journal's path of it."""
    place = Directory.from_url(str(target))
    with journal:
        upload = place.begin_upload("big.bin", size=2 << 20, part_bytes=1 << 20)
        upload.put(0, bytes(1 << 20))
        begun = FileProgress(source_stamp="mtime:1", bytes=2 << 20, part_bytes=1 << 20, handle=upload.handle)
        journal.save({place.path("big.bin"): begun})
    return place.path("big.bin")


def _hidden(target: Path) -> list[Path]:
    return [path for path in target.rglob("*") if path.is_file() and path.name not in ("a.csv", "b.csv")]


def test_no_resume_removes_what_an_attempt_before_had_begun(dataflow: Dataflow, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "to"
    transfer = transfer_id([str(folder)], str(target), TransferOptions())
    _begun(FileJournal(journal_folder(), transfer, str(target)), target)
    assert _hidden(target)
    assert dataflow("transfer", folder, target, "--no-resume").code == 0
    assert (_hidden(target), list(journal_folder().iterdir())) == ([], [])


def test_the_sweep_removes_what_abandoned_transfers_had_begun_and_their_journals(
    dataflow: Dataflow, folder: Path, store: Store, store_file: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    _begun(FileJournal(journal_folder(), "a" * 32, str(one)), one)
    _begun(CatalogJournal(store.catalog, "b" * 32, str(other)), other)
    young = dataflow("datasets", "sweep", "--store", store_file, "--format", "json")
    assert young.code == 0, young.error
    assert _hidden(one)
    assert _hidden(other)
    swept = dataflow("datasets", "sweep", "--grace-hours", "0", "--store", store_file, "--format", "json")
    assert sorted(swept.json["removed"]) == [f"{one}/big.bin", f"{other}/big.bin"]
    assert (_hidden(one), _hidden(other), list(journal_folder().iterdir())) == ([], [], [])
    assert CatalogJournal(store.catalog, "b" * 32, str(other)).load() == {}


def test_a_transfer_with_a_store_keeps_its_journal_in_the_catalog_and_one_at_a_time_runs(
    dataflow: Dataflow, folder: Path, store: Store, store_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "to"
    transfer = transfer_id([str(folder)], str(target), TransferOptions())
    with CatalogJournal(store.catalog, transfer, str(target)):
        outcome = dataflow("transfer", folder, target, "--store", store_file)
        assert (outcome.code, "another process is at work" in outcome.error) == (1, True)
    assert dataflow("transfer", folder, target, "--store", store_file).code == 0
    assert not (tmp_path / "state").exists()
