"""Disks that are full, or must not be written: the message says what to do, and nothing half is visible."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import AccessDeniedError, StorageFullError, is_terminal
from airflow_dataflow.storage.rebuild import rebuild
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.storage.versions import DATASET, FIRST, SECOND, make_version, open_store, tree

LATER = datetime.now(UTC) + timedelta(days=1)


def _store_on(disk: Path, tmp_path: Path) -> Store:
    return Store([Tier(name="hot", tier_class="hot", url=str(disk))], Catalog(f"sqlite:///{tmp_path}/catalog.db"))


def test_a_full_disk_is_named_with_the_file_and_a_remedy_and_nothing_stays(
    mount: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mount("size=256k")
    store = _store_on(disk, tmp_path)
    made = make_version(store, FIRST)
    before = tree(disk)
    with pytest.raises(StorageFullError) as caught, store.draft(DATASET, at=SECOND, fingerprint="4f2a9c") as draft:
        _fill(draft)
    message = str(caught.value)
    assert f"no space left while writing data/2.bin to {disk}/{DATASET}/20261123T021500Z-4f2a9c/data/2.bin" in message
    assert "bytes are free there: delete something, or give it a larger disk" in message
    assert is_terminal(caught.value)
    assert tree(disk) == before
    assert store.catalog.resolve(DATASET) == made


def _fill(draft) -> None:
    for number in range(10):
        with draft.create(f"data/{number}.bin") as writer:
            writer.write(b"x" * 90_000)


def test_a_full_disk_is_named_when_another_library_writes(mount: Callable[[str], Path], tmp_path: Path) -> None:
    store = _store_on(mount("size=256k"), tmp_path)
    with (
        pytest.raises(StorageFullError, match=r"while writing data/0\.parquet"),
        store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft,
        draft.create("data/0.parquet") as writer,
    ):
        pl.DataFrame({"a": range(500_000)}).lazy().sink_parquet(writer, compression="uncompressed")


def test_a_carried_file_may_find_the_disk_full_too(mount: Callable[[str], Path], tmp_path: Path) -> None:
    elsewhere = open_store(tmp_path / "elsewhere")
    old = make_version(elsewhere, FIRST)
    store = _store_on(mount("size=4k"), tmp_path)
    with (
        pytest.raises(StorageFullError, match=r"while writing data/0\.bin"),
        store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft,
    ):
        draft.carry(old.files[0], elsewhere.directory(old))


def test_a_disk_without_room_for_one_more_folder_is_full_as_well(mount: Callable[[str], Path], tmp_path: Path) -> None:
    store = _store_on(mount("size=1m,nr_inodes=4"), tmp_path)
    with pytest.raises(StorageFullError, match="no space left"):
        make_version(store, FIRST)


def test_a_full_disk_under_the_catalog_is_named(mount: Callable[[str], Path], tmp_path: Path) -> None:
    disk = mount("size=400k")
    store = open_store(tmp_path, url=f"sqlite:///{disk}/catalog.db")
    store.catalog.datasets()
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(b"x" * 400_000)
    with pytest.raises(StorageFullError, match=rf"no space left for catalog sqlite:///{disk}/catalog\.db"):
        _many(store)
    (disk / "filler").unlink()
    assert rebuild(store).copies == len(store.versions_on(store.hot, DATASET))


def _many(store: Store) -> None:
    for number in range(100):
        make_version(store, FIRST + timedelta(seconds=number))


def test_a_folder_that_must_not_be_written_is_named(mount: Callable[[str], Path], tmp_path: Path) -> None:
    disk = mount("size=256k")
    store = _store_on(disk, tmp_path)
    made = make_version(store, FIRST)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(AccessDeniedError, match=rf"at {disk}/{DATASET}/.* is refused .*Read-only file system"):
        make_version(store, SECOND)
    assert store.verify(made)


def test_a_catalog_that_must_not_be_written_is_named(mount: Callable[[str], Path], tmp_path: Path) -> None:
    disk = mount("size=256k")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    store = open_store(tmp_path, url=f"sqlite:///{disk}/catalog.db")
    with pytest.raises(AccessDeniedError, match=rf"catalog sqlite:///{disk}/catalog\.db cannot be written"):
        store.catalog.datasets()


def test_a_version_moves_in_by_copy_where_disks_differ(mount: Callable[[str], Path], tmp_path: Path) -> None:
    elsewhere = open_store(tmp_path / "elsewhere")
    old = make_version(elsewhere, FIRST)
    disk = mount("size=1m")
    store = _store_on(disk, tmp_path)
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        draft.carry(old.files[0], elsewhere.directory(old))
        made = draft.commit(Rows())
    assert made.files == old.files[:1]
    assert store.verify(made)
