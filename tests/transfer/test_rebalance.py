"""Moving versions between tiers: nothing is lost, whatever is killed, and a retry finishes."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import CorruptDataError, InvalidInputError
from airflow_dataflow.storage.backends._s3_parts import S3Upload
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError
from airflow_dataflow.transfer.rebalance import Move, copy_version, rebalance
from tests.killing import killed_at, steps_of
from tests.storage.versions import DATASET, FIRST, SECOND, check_catalog, make_version, open_store, tree, visible

THIRD = SECOND + timedelta(days=1)
LATER = datetime.now(UTC) + timedelta(days=1)


def _tiers(store: Store, reference: str) -> list[str | None]:
    made = store.manifest(reference)
    return [replica.tier for replica in store.catalog.replicas(made.dataset, made.version)]


def test_versions_get_colder_with_age_a_tier_at_a_time(store: Store) -> None:
    old = make_version(store, FIRST)
    assert rebalance(store) == []
    middle = make_version(store, SECOND)
    assert rebalance(store) == [Move(old.reference, "hot", "warm", old.total_bytes)]
    new = make_version(store, THIRD)
    assert rebalance(store) == [
        Move(middle.reference, "hot", "warm", middle.total_bytes),
        Move(old.reference, "warm", "cold", old.total_bytes),
    ]
    assert [_tiers(store, made.reference) for made in (old, middle, new)] == [["cold"], ["warm"], ["hot"]]
    assert rebalance(store) == []
    check_catalog(store)


def test_a_version_never_moves_to_a_nearer_tier(store: Store) -> None:
    old = make_version(store, FIRST)
    make_version(store, SECOND)
    assert len(rebalance(store, warm_versions=0)) == 1
    assert rebalance(store, warm_versions=5) == []
    assert _tiers(store, old.reference) == ["cold"]


def test_a_store_without_a_warm_tier_keeps_nothing_warm(store: Store) -> None:
    two = Store([store.tier("hot"), store.tier("cold")], store.catalog)
    old = make_version(two, FIRST)
    make_version(two, SECOND)
    assert rebalance(two, warm_versions=5) == [Move(old.reference, "hot", "cold", old.total_bytes)]


def test_all_but_the_newest_version_go_to_the_coldest_tier_when_none_stays_warm(store: Store, tmp_path: Path) -> None:
    old, middle, new = (make_version(store, at) for at in (FIRST, SECOND, THIRD))
    assert rebalance(store, warm_versions=0) == [
        Move(middle.reference, "hot", "cold", middle.total_bytes),
        Move(old.reference, "hot", "cold", old.total_bytes),
    ]
    assert visible(store.hot.directory) == [new.reference]
    assert visible(store.tier("cold").directory) == [old.reference, middle.reference]
    assert [_tiers(store, made.reference) for made in (old, middle, new)] == [["cold"], ["cold"], ["hot"]]
    assert not (tmp_path / "hot" / DATASET / old.version).exists()
    assert rebalance(store, warm_versions=0) == []
    check_catalog(store)


@pytest.mark.parametrize(("hot_versions", "moved"), [(1, 2), (2, 1), (3, 0), (9, 0)])
def test_as_many_versions_stay_hot_as_were_asked_for(store: Store, hot_versions: int, moved: int) -> None:
    for at in (FIRST, SECOND, THIRD):
        make_version(store, at)
    assert len(rebalance(store, hot_versions=hot_versions)) == moved


def test_at_least_one_version_stays_hot(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="hot_versions must be at least 1, got 0"):
        rebalance(store, hot_versions=0)


def test_fewer_than_no_versions_cannot_be_warm(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="warm_versions must be at least 0, got -1"):
        rebalance(store, warm_versions=-1)


def test_only_the_datasets_that_were_named_are_moved(store: Store) -> None:
    for at in (FIRST, SECOND):
        make_version(store, at)
    assert rebalance(store, ["support/other"]) == []
    assert len(rebalance(store, [DATASET])) == 1


def test_a_store_of_one_tier_has_nowhere_to_move(store: Store, tmp_path: Path) -> None:
    for at in (FIRST, SECOND):
        make_version(store, at)
    assert rebalance(Store(store.tiers[:1], Catalog(f"sqlite:///{tmp_path}/catalog.db"))) == []


def test_a_version_can_lie_on_several_tiers(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    report = copy_version(store, f"{DATASET}@latest", "warm")
    assert report.bytes_sent == made.total_bytes
    assert _tiers(store, made.reference) == ["hot", "warm"]
    assert tree(tmp_path / "warm") == tree(tmp_path / "hot")
    assert copy_version(store, f"{DATASET}@latest", "warm").bytes_skipped == made.total_bytes
    with pytest.raises(InvalidInputError, match="no tier named 'wram'; did you mean 'warm'"):
        copy_version(store, made.reference, "wram")


def test_every_copy_above_the_coldest_tier_is_given_up(store: Store) -> None:
    old = make_version(store, FIRST)
    copy_version(store, old.reference, "warm")
    make_version(store, SECOND)
    moves = rebalance(store, warm_versions=0)
    assert [(move.source, move.target) for move in moves] == [("hot", "cold"), ("warm", "cold")]
    assert _tiers(store, old.reference) == ["cold"]


def test_a_version_that_is_damaged_is_neither_moved_nor_deleted(store: Store, tmp_path: Path) -> None:
    old = make_version(store, FIRST)
    make_version(store, SECOND)
    damaged = tmp_path / "hot" / DATASET / old.version / "quarantine" / "0.bin"
    damaged.write_bytes(b"?")
    before = tree(tmp_path / "hot")
    with pytest.raises(CorruptDataError, match=r"quarantine/0\.bin has 1 bytes"):
        rebalance(store)
    assert tree(tmp_path / "hot") == before
    assert visible(store.tier("warm").directory) == []
    assert _tiers(store, old.reference) == ["hot"]


def test_a_damaged_cold_copy_is_replaced_before_the_hot_one_goes(store: Store, tmp_path: Path) -> None:
    old = make_version(store, FIRST)
    shutil.copytree(tmp_path / "hot", tmp_path / "cold")
    store.catalog.put_replica(store.replica(old, store.tier("cold")))
    damaged = tmp_path / "cold" / DATASET / old.version / "data" / "0.bin"
    damaged.write_bytes(b"?" * damaged.stat().st_size)
    make_version(store, SECOND)
    rebalance(store, warm_versions=0)
    assert visible(store.tier("cold").directory) == [old.reference]
    check_catalog(store)


def _rebalance(folder: Path, *cold: Any) -> None:
    rebalance(open_store(folder, cold=cold or None), warm_versions=0)


def test_a_move_killed_at_any_step_loses_nothing_and_a_retry_finishes_it(tmp_path: Path) -> None:
    start = tmp_path / "start"
    old, new = (make_version(open_store(start), at) for at in (FIRST, SECOND))
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(start, undisturbed)
    _rebalance(undisturbed)
    states = set()

    def kill(step: int) -> bool:
        shutil.copytree(start, tmp_path / str(step))
        return killed_at(step, _rebalance, tmp_path / str(step))

    for step in steps_of(kill, every=2):
        folder = tmp_path / str(step)
        store = open_store(folder)
        check_catalog(store)
        states.add(tuple(_tiers(store, old.reference)))
        places = {tier: visible(store.tier(tier).directory) for tier in ("hot", "cold")}
        assert new.reference in places["hot"]
        assert old.reference in places["hot"] + places["cold"]
        _rebalance(folder)
        assert visible(store.hot.directory) == [new.reference]
        assert visible(store.tier("cold").directory) == [old.reference]
        check_catalog(store)
        store.sweep(grace=timedelta(0), now=LATER)
        for tier in ("hot", "cold"):
            assert tree(folder / tier) == tree(undisturbed / tier)
        shutil.rmtree(folder)
    assert states == {("hot",), ("cold", "hot"), ("cold",)}


@pytest.mark.s3
def test_a_move_to_s3_killed_on_the_way_loses_nothing_and_a_retry_finishes_it(
    tmp_path: Path, bucket: str, s3_options: dict[str, Any]
) -> None:
    step, states = 15, set()
    while True:
        folder, url = tmp_path / str(step), f"s3://{bucket}/{step}"
        old, new = (make_version(open_store(folder, cold=(url, s3_options)), at) for at in (FIRST, SECOND))
        killed = killed_at(step, _rebalance, folder, url, s3_options)
        store = open_store(folder, cold=(url, s3_options))
        check_catalog(store)
        states.add(tuple(_tiers(store, old.reference)))
        _rebalance(folder, url, s3_options)
        assert visible(store.hot.directory) == [new.reference]
        assert visible(Directory.from_url(url, s3_options)) == [old.reference]
        check_catalog(store)
        if not killed:
            break
        step += 12
    assert states >= {("hot",), ("cold",)}
    made = make_version(store, THIRD)
    assert made.files
    assert store.directory(store.manifest(old.reference)).digest("data/0.bin") == (
        old.files[0].digest,
        old.files[0].bytes,
    )


@pytest.mark.s3
def test_a_large_file_goes_on_where_a_move_was_stopped(
    tmp_path: Path, bucket: str, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, cold=(f"s3://{bucket}", s3_options))
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        with draft.create("data/large.bin") as writer:
            for number in range(40):
                writer.write(bytes([number]) * 2**20)
        old = draft.commit(Rows())
    make_version(store, SECOND)
    control, put, parts = Control(base=Limits(parts_at_once=1)), S3Upload.put, []

    def count(self: S3Upload, number: int, data: bytes) -> str:
        parts.append(number)
        return put(self, number, data)

    monkeypatch.setattr(S3Upload, "put", count)
    with pytest.raises(StoppedError):
        rebalance(store, warm_versions=0, control=control, progress=lambda *_: control.stop())
    assert _tiers(store, old.reference) == ["hot"]
    assert rebalance(store, warm_versions=0) == [Move(old.reference, "hot", "cold", old.total_bytes)]
    assert sorted(parts) == [0, 1, 2]
    check_catalog(store)


def test_a_move_that_was_killed_while_deleting_is_finished(store: Store, tmp_path: Path) -> None:
    old = make_version(store, FIRST)
    make_version(store, SECOND)
    left = tree(tmp_path / "hot" / DATASET / old.version / "data")
    rebalance(store, warm_versions=0)
    for path, content in left.items():
        (tmp_path / "hot" / DATASET / old.version / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "hot" / DATASET / old.version / "data" / path).write_bytes(content)
    assert rebalance(store, warm_versions=0) == []
    assert not (tmp_path / "hot" / DATASET / old.version).exists()
    assert visible(store.tier("cold").directory) == [old.reference]


def test_a_version_copied_onto_its_own_damaged_place_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    damaged = tmp_path / "hot" / DATASET / made.version / "data" / "0.bin"
    damaged.write_bytes(b"?")
    before = tree(tmp_path / "hot")
    with pytest.raises(CorruptDataError, match=r"data/0\.bin has 1 bytes"):
        copy_version(store, made.reference, "hot")
    assert tree(tmp_path / "hot") == before
