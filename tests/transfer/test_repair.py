"""A damaged copy is mended from the copies that have its files whole."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import BusyError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.verification import CopyCheck, check_copy
from airflow_dataflow.transfer.rebalance import copy_version
from airflow_dataflow.transfer.repair import repair_copy
from tests.storage.versions import FIRST, make_version, tree


@pytest.fixture
def made(store: Store) -> Manifest:
    """Return a version that lies on three tiers."""
    made = make_version(store, FIRST)
    for tier in ("warm", "cold"):
        copy_version(store, made.reference, tier)
    return made


def _spoil(store: Store, made: Manifest, tier: str, path: str) -> Path:
    file = Path(store.directory(made, tier=tier).root, path)
    file.unlink()  # on one disk, copies share their bytes
    file.write_bytes(b"spoilt")
    return file


def _repaired(store: Store, made: Manifest, tier: str = "hot") -> CopyCheck:
    check = check_copy(store, made, store.tier(tier))
    assert check.state == "damaged"
    return repair_copy(store, check)


def test_each_bad_file_comes_from_the_nearest_copy_that_has_it_whole(
    store: Store, made: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = tree(tmp_path / "hot")
    _spoil(store, made, "hot", "data/0.bin")
    _spoil(store, made, "hot", "data/1.bin").unlink()
    _spoil(store, made, "hot", MANIFEST_NAME)
    _spoil(store, made, "warm", "data/0.bin")
    with caplog.at_level(logging.INFO):
        assert _repaired(store, made).state == "whole"
    assert tree(tmp_path / "hot") == before
    assert "data/0.bin from tier cold" in caplog.text
    assert "data/1.bin from tier warm" in caplog.text
    assert _repaired(store, made, "warm").state == "whole"


def test_what_no_copy_has_whole_stays_as_it_is(store: Store, made: Manifest) -> None:
    files = [_spoil(store, made, tier, "data/0.bin") for tier in ("hot", "warm", "cold")]
    check = _repaired(store, made)
    assert (check.state, [path for path, _ in check.damages]) == ("damaged", ["data/0.bin"])
    assert [file.read_bytes() for file in files] == [b"spoilt"] * 3


def test_a_good_manifest_of_another_content_is_left_to_a_person(store: Store, made: Manifest) -> None:
    other = made.model_copy(update={"statistics": {"rows": 1}}).to_bytes()
    file = _spoil(store, made, "hot", MANIFEST_NAME)
    file.write_bytes(other)
    assert _repaired(store, made).state == "damaged"
    assert file.read_bytes() == other


def test_a_copy_that_somebody_else_is_writing_is_left_alone(store: Store, made: Manifest) -> None:
    _spoil(store, made, "hot", "data/0.bin")
    check = check_copy(store, made, store.hot)
    with (
        store.place(store.hot, made.dataset, made.version).lock(),
        pytest.raises(BusyError, match="another process is writing"),
    ):
        repair_copy(store, check)


def test_a_copy_that_was_moved_away_is_not_made_again(store: Store, made: Manifest, tmp_path: Path) -> None:
    _spoil(store, made, "hot", "data/0.bin")
    check = check_copy(store, made, store.hot)
    store.catalog.remove_replica(store.replica(made, store.hot))
    store.remove_copy(store.hot, made.dataset, made.version)
    assert repair_copy(store, check).state == "moved"
    assert [path for path in tree(tmp_path / "hot") if path.endswith(".bin")] == []
