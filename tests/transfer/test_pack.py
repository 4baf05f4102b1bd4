"""Sending files as packs: resumed, verified, put beside others, and moved to cold tiers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.errors import CorruptDataError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.layout import LAYOUT_NAME, PACKS_FOLDER
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.storage.verification import check_copy
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.publish import publish
from airflow_dataflow.transfer.rebalance import copy_version, rebalance
from airflow_dataflow.transfer.repair import repair_copy
from tests.killing import killed_at, steps_of
from tests.storage.versions import FIRST, SECOND, check_catalog, make_version, settled, tree, visible

PACKED = TransferOptions(compress=3)


def store_with_packs(folder: Path, **cold: Any) -> Store:
    options = {"compress": 3} | cold
    tiers = [
        Tier(name="hot", tier_class="hot", url=str(folder / "hot")),
        Tier(name="cold", tier_class="cold", url=str(folder / "cold"), **options),
    ]
    return Store(tiers, Catalog(f"sqlite:///{folder}/catalog.db"))


def move_out(folder: Path) -> None:
    rebalance(store_with_packs(folder))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(50):
        path = folder / f"{number % 5}" / f"ä{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"row {number}\n" * 100 * number)
    (folder / "large").write_bytes(b"".join(number.to_bytes(4) for number in range(1_200_000)))
    return folder


def test_a_cold_tier_gets_packs_which_are_verified_published_and_unpacked(tmp_path: Path) -> None:
    store = store_with_packs(tmp_path)
    old, _ = make_version(store, FIRST), make_version(store, SECOND)
    (move,) = rebalance(store)
    assert (move.version, move.target) == (old.reference, "cold")
    folder = store.directory(old)
    assert Path(folder.root, LAYOUT_NAME).exists()
    assert store.verify(old)
    assert visible(store.tier("cold").directory.child("support/dialogs").parent()[0].parent()[0]) == [old.reference]
    publish(store, [old.reference], str(tmp_path / "public"))
    assert not (tmp_path / "public" / old.dataset / old.version / LAYOUT_NAME).exists()
    copy_version(store, old.reference, "hot")
    assert Path(store.directory(old, tier="hot").root, "data/0.bin").is_file()
    check_catalog(store)


def test_a_copy_in_packs_is_mended_from_another(tmp_path: Path) -> None:
    store = store_with_packs(tmp_path)
    made = make_version(store, FIRST)
    copy_version(store, made.reference, "cold")
    for name in ("pack", "layout"):
        folder = Path(store.place(store.tier("cold"), made.dataset, made.version).root)
        path = folder / LAYOUT_NAME if name == "layout" else next((folder / PACKS_FOLDER).iterdir())
        path.write_bytes(b"rubbish")
        check = check_copy(store, made, store.tier("cold"))
        assert check.state == "damaged", name
        assert repair_copy(store, check).state == "whole", name


def test_a_move_into_packs_that_is_killed_at_any_step_is_finished_by_the_next(tmp_path: Path) -> None:
    store = store_with_packs(tmp_path)
    make_version(store, FIRST)
    make_version(store, SECOND)
    for step in steps_of(lambda step: killed_at(step, move_out, str_path(tmp_path)), every=5):
        seen = {name for tier in ("hot", "cold") for name in visible(Directory.from_url(str(tmp_path / tier)))}
        assert len(seen) == 2, step
    move_out(tmp_path)
    check_catalog(store_with_packs(tmp_path))
    assert not [path for path in settled(tree(tmp_path / "hot")) if FIRST.strftime("%Y%m%d") in path.split("/")[2]]


def str_path(path: Path) -> Any:
    return path


def test_a_folder_goes_into_packs_and_comes_out_of_them(source: Path, tmp_path: Path) -> None:
    packed, back = str(tmp_path / "packed"), tmp_path / "back"
    report = copy_path(str(source), packed, options=PACKED)
    assert (report.files, report.bytes_sent) == (51, sum(len(data) for data in tree(source).values()))
    assert 0 < report.bytes_stored < report.bytes_sent
    assert len(tree(Path(packed))) < 8
    copy_path(packed, str(back))
    assert tree(back) == tree(source)
    again = copy_path(str(source), packed, options=PACKED)
    assert (again.bytes_sent, again.bytes_skipped) == (0, report.bytes_sent)


def test_only_small_files_are_packed_without_compression(source: Path, tmp_path: Path) -> None:
    copy_path(str(source), str(tmp_path / "packed"), options=TransferOptions(pack=True, pack_below_bytes=1 << 20))
    stored = tree(tmp_path / "packed")
    assert stored["large"] == tree(source)["large"]
    assert sorted(path.split("/")[0] for path in stored) == ["_layout.json", *["_packs"] * (len(stored) - 2), "large"]


def test_what_changed_is_packed_and_the_rest_stays(source: Path, tmp_path: Path) -> None:
    packed = Directory.from_url(str(tmp_path / "packed"))
    copy_path(str(source), packed.root, options=PACKED)
    (source / "0" / "new.txt").write_text("new")
    (source / "1" / "ä1.txt").write_text("changed")
    (source / "large").unlink()
    report = copy_path(str(source), packed.root, options=TransferOptions(compress=3, mirror=True))
    assert (report.bytes_sent, report.files_removed) == (len("new") + len("changed"), 1)
    again = Directory.from_url(packed.root)
    assert {path: again.read(path) for path in again.files()} == tree(source)


def test_a_version_of_empty_files_needs_no_pack(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("a", "b"):
        (tmp_path / "source" / name).touch()
    copy_path(str(tmp_path / "source"), str(tmp_path / "packed"), options=PACKED)
    assert list(tree(tmp_path / "packed")) == [LAYOUT_NAME]
    assert Directory.from_url(str(tmp_path / "packed")).files() == {"a": 0, "b": 0}


def test_packs_that_are_there_are_not_sent_again(source: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    whole = copy_path(str(source), str(packed), options=PACKED)
    (packed / LAYOUT_NAME).unlink()
    lost = sorted((packed / PACKS_FOLDER).iterdir())[1]
    lost.write_bytes(lost.read_bytes()[:-1])
    report = copy_path(str(source), str(packed), options=PACKED)
    assert 0 < report.bytes_sent < whole.bytes_sent
    assert report.bytes_sent + report.bytes_resumed == whole.bytes_sent
    assert Directory.from_url(str(packed)).digest("large") == Directory.from_url(str(source)).digest("large")


@pytest.mark.parametrize("path", ["data/0.bin", "data/1.bin"])
def test_a_source_that_is_damaged_is_not_packed(tmp_path: Path, path: str) -> None:
    store = store_with_packs(tmp_path)
    made = make_version(store, datetime(2026, 11, 20, tzinfo=UTC))
    file = Path(store.directory(made).root, path)
    data = bytearray(file.read_bytes())
    data[7] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptDataError, match=path):
        copy_version(store, made.reference, "cold")
    assert not store.place(store.tier("cold"), made.dataset, made.version).exists(MANIFEST_NAME)
