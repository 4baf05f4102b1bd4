"""The store: tiers, copies, cleaning up, and a catalog that can be lost."""

from __future__ import annotations

import logging
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog, Replica
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Rows
from airflow_dataflow.errors import InvalidInputError, NotFoundError, TransferError
from airflow_dataflow.storage.rebuild import rebuild
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.storage.versions import DATASET, FIRST, SECOND, make_version, open_store, tree, visible

HALF = f".{0:032x}.partial"
GRACE = timedelta(hours=6)
LATER = datetime.now(UTC) + timedelta(days=1)


def _tier(name: str, tier_class: str) -> Tier:
    return Tier(name=name, tier_class=tier_class, url=f"/nowhere/{name}")


def test_tiers_are_ordered_from_hot_to_cold_whatever_the_order_given() -> None:
    store = Store([_tier("tape", "cold"), _tier("ssd", "hot"), _tier("hdd", "warm")], Catalog("sqlite://"))
    assert [tier.name for tier in store.tiers] == ["ssd", "hdd", "tape"]
    assert store.hot.name == "ssd"


def test_tiers_that_make_no_store_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least one tier"):
        Store([], Catalog("sqlite://"))
    with pytest.raises(InvalidInputError, match=r"must differ, got \['ssd', 'ssd'\]"):
        Store([_tier("ssd", "hot"), _tier("ssd", "cold")], Catalog("sqlite://"))
    with pytest.raises(InvalidInputError, match="class 'cool'; did you mean 'cold'"):
        _tier("tape", "cool")
    with pytest.raises(InvalidInputError, match="no tier named 'hod'; did you mean 'hot'"):
        Store([_tier("hot", "hot")], Catalog("sqlite://")).tier("hod")


def test_secrets_of_a_tier_are_not_printed() -> None:
    tier = Tier(name="cold", tier_class="cold", url="s3://bucket/cold", storage_options={"secret": "hunter2"})
    assert "hunter2" not in repr(tier)


def test_the_same_work_is_found_and_other_work_is_not(store: Store) -> None:
    made = make_version(store, FIRST)
    assert store.find(DATASET, made.fingerprint) == made
    assert store.find(DATASET, "0" * 64) is None
    assert store.find("support/other", made.fingerprint) is None


def test_a_version_that_only_storage_knows_is_found_and_recorded(tmp_path: Path) -> None:
    made = make_version(open_store(tmp_path), FIRST)
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    store = open_store(tmp_path)
    assert store.find(DATASET, made.fingerprint) == made
    assert store.manifest(DATASET) == made


def test_a_version_whose_files_somebody_deleted_is_made_again(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    before = tree(tmp_path / "hot")
    shutil.rmtree(tmp_path / "hot")
    assert store.find(DATASET, made.fingerprint) is None
    assert make_version(store, FIRST) == made
    assert tree(tmp_path / "hot") == before


def test_a_version_is_read_from_the_nearest_tier_that_has_it(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    shutil.copytree(tmp_path / "hot", tmp_path / "cold")
    store.catalog.put_replica(store.replica(made, store.tier("cold")))
    assert store.directory(made).root.startswith(f"{tmp_path}/hot/")
    store.catalog.remove_replica(store.replica(made, store.hot))
    assert store.directory(made).root.startswith(f"{tmp_path}/cold/")
    store.catalog.remove_replica(store.replica(made, store.tier("cold")))
    with pytest.raises(NotFoundError, match="lies on none of the tiers hot, warm, cold"):
        store.directory(made)


def test_verify_reads_every_copy_and_names_what_differs(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    shutil.copytree(tmp_path / "hot", tmp_path / "cold")
    store.catalog.put_replica(store.replica(made, store.tier("cold")))
    assert [replica.tier for replica in store.verify(made)] == ["cold", "hot"]
    damaged = tmp_path / "cold" / DATASET / made.version / "data" / "0.bin"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(TransferError, match=r"/cold/.*/data/0\.bin reads back as"):
        store.verify(made)


# sweep ----------------------------------------------------------------------------------------


def _rubbish(tmp_path: Path, tier: str, *files: str, version: str = "20200101T000000Z-000000") -> Path:
    folder = tmp_path / tier / DATASET / version
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


@pytest.mark.parametrize("files", [(), ("data/0.bin",), (f"data/{HALF}",)], ids=["empty", "file", "partial"])
@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
def test_what_a_killed_process_left_is_swept_after_the_grace(
    store: Store, tmp_path: Path, tier: str, files: tuple[str, ...]
) -> None:
    folder = _rubbish(tmp_path, tier, *files)
    made = make_version(store, FIRST)
    assert store.sweep(grace=GRACE) == []
    assert folder.exists()
    assert store.sweep(grace=GRACE, now=LATER) == [f"file://{folder}"]
    assert not folder.exists()
    assert visible(store.hot.directory) == [made.reference]


def test_the_last_change_counts_not_the_first(store: Store, tmp_path: Path) -> None:
    folder = _rubbish(tmp_path, "hot", "data/0.bin", "data/1.bin")
    long_ago = time.time() - 10 * GRACE.total_seconds()
    for path in [folder, folder / "data", folder / "data" / "0.bin"]:
        os.utime(path, (long_ago, long_ago))
    assert store.sweep(grace=GRACE) == []
    os.utime(folder / "data" / "1.bin", (long_ago, long_ago))
    assert store.sweep(grace=GRACE) == [f"file://{folder}"]


def test_half_files_beside_whole_ones_are_swept_and_versions_stay(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    before = tree(tmp_path / "hot")
    folder = tmp_path / "hot" / DATASET
    (folder / made.version / "data" / HALF).write_bytes(b"half")
    (folder / f".{made.version}.dataflow-lock").write_bytes(b"")
    removed = store.sweep(grace=GRACE, now=LATER)
    assert sorted(Path(path).name for path in removed) == [HALF, f".{made.version}.dataflow-lock"]
    assert tree(tmp_path / "hot") == before


def test_a_sweep_minds_its_own_business(store: Store, tmp_path: Path) -> None:
    foreign = [
        "notes.txt",
        ".download.partial",
        ".apt.lock",
        "lost+found/x",
        "support/readme.md",
        "UPPER/20200101T000000Z-000000/x",
    ]
    for path in foreign:
        (tmp_path / "hot" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hot" / path).write_bytes(b"x")
    assert store.sweep(grace=GRACE, now=LATER) == []
    assert sorted(tree(tmp_path / "hot")) == sorted(foreign)


# rebuild --------------------------------------------------------------------------------------


def test_a_lost_catalog_is_rebuilt_from_the_manifests(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = [make_version(store, at) for at in (FIRST, SECOND)]
    with store.draft("support/model", at=FIRST, fingerprint="4f2a9c", kind="model") as draft:
        made.append(draft.commit(Rows()))
    shutil.copytree(tmp_path / "hot" / DATASET / made[0].version, tmp_path / "cold" / DATASET / made[0].version)
    _rubbish(tmp_path, "hot", "data/0.bin")
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    store = open_store(tmp_path)
    assert store.catalog.datasets() == []
    assert rebuild(store).copies == 4
    assert store.catalog.datasets() == [DATASET, "support/model"]
    assert store.catalog.manifests(DATASET) == [made[1], made[0]]
    assert [replica.tier for replica in store.catalog.replicas(DATASET, made[0].version)] == ["cold", "hot"]
    assert rebuild(store).copies == 4


def test_a_rebuild_forgets_what_lies_nowhere_and_keeps_what_was_published(store: Store, tmp_path: Path) -> None:
    first, second = make_version(store, FIRST), make_version(store, SECOND)
    public = Replica(dataset=DATASET, version=first.version, location="s3://public/x", tier=None, url="s3://public/x")
    store.catalog.put_replica(public)
    shutil.rmtree(tmp_path / "hot")
    assert rebuild(store).copies == 0
    assert store.catalog.manifests(DATASET) == [first]
    assert store.catalog.replicas(DATASET, first.version) == [public]
    assert store.catalog.replicas(DATASET, second.version) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff", b'{"dataset": "support/dialogs"'])
def test_a_rebuild_skips_a_broken_manifest_names_it_and_keeps_what_the_catalog_knew(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    first, second = make_version(store, FIRST), make_version(store, SECOND)
    broken = tmp_path / "hot" / DATASET / first.version / MANIFEST_NAME
    broken.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        report = rebuild(store)
    assert (report.copies, report.forgotten, len(report.broken)) == (1, 0, 1)
    assert f"{first.version}/{MANIFEST_NAME} is not a manifest" in report.broken[0]
    assert report.broken[0] in caplog.text
    assert store.catalog.manifests(DATASET) == [second, first]
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    assert rebuild(open_store(tmp_path)).copies == 1
    assert open_store(tmp_path).catalog.manifests(DATASET) == [second]


def test_datasets_inside_datasets_are_kept_apart(store: Store) -> None:
    for dataset in ("a", "a/b", "a/b/c"):
        with store.draft(dataset, at=FIRST, fingerprint="4f2a9c") as draft:
            with draft.create("data/x") as writer:
                writer.write(dataset.encode())
            draft.commit(Rows())
    assert rebuild(store).copies == 3
    assert store.catalog.datasets() == ["a", "a/b", "a/b/c"]
    assert store.versions_on(store.hot, "a/b") == ["20261122T021500Z-4f2a9c"]
    assert store.directory(store.manifest("a/b")).read("data/x") == b"a/b"


def test_a_version_that_is_committed_during_a_rebuild_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_version(store, FIRST)
    original = Store.all_versions_on

    def look_while_another_commits(self: Store, tier: Tier) -> list[tuple[str, str]]:
        found = original(self, tier)
        if tier.name == "hot":
            make_version(store, SECOND)
        return found

    monkeypatch.setattr(Store, "all_versions_on", look_while_another_commits)
    assert rebuild(store).copies == 1
    assert [made.version for made in store.catalog.manifests(DATASET)][1:] == [first.version]
