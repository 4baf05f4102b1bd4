"""A hot tier on S3, which has no locks: several writers of one version, and writers that are killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.errors import BusyError
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.killing import at_once, killed_at
from tests.storage.versions import DATASET, FIRST, SECOND, check_catalog, make_version, visible

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def store(s3_place: tuple[str, dict[str, Any]], tmp_path: Path) -> Store:
    """Return a store whose only tier is an empty prefix."""
    return _store(tmp_path, *s3_place)


def _store(folder: Path, url: str, options: dict[str, Any]) -> Store:
    tier = Tier(name="hot", tier_class="hot", url=url, storage_options=options)
    return Store([tier], Catalog(f"sqlite:///{folder}/catalog.db"))


def _make(folder: Path, url: str, options: dict[str, Any]) -> str:
    try:
        return make_version(_store(folder, url, options), FIRST).reference
    except BusyError:  # another process was quicker between the look and the start; so Airflow tries again
        return make_version(_store(folder, url, options), FIRST).reference


def test_processes_that_make_one_version_at_once_make_one(s3_place, store: Store, tmp_path: Path) -> None:
    answers = at_once(*[(_make, (tmp_path, *s3_place))] * 3)
    assert len(set(answers)) == 1
    assert visible(store.hot.directory) == [answers[0]]
    check_catalog(store)


def _make_other(folder: Path, url: str, options: dict[str, Any], fingerprint: str) -> str:
    store = _store(folder, url, options)
    with store.draft(DATASET, at=FIRST, fingerprint=fingerprint) as draft:
        for number in range(5):
            _write(draft, f"data/{number}.bin", fingerprint.encode() * 100)
        return draft.commit(Rows()).fingerprint


def test_processes_that_make_different_things_under_one_version_never_mix_them(
    s3_place, store: Store, tmp_path: Path
) -> None:
    fingerprints = [f"4f2a9c{number:026x}" for number in range(3)]
    for name in fingerprints:
        (tmp_path / name).mkdir()
    answers = at_once(*[(_make_other, (tmp_path / name, *s3_place, name)) for name in fingerprints])
    winners = [answer for answer in answers if not answer.startswith(("BusyError", "InvalidInputError"))]
    assert len(visible(store.hot.directory)) == len(winners) <= 1, "what is visible is whole"
    store.sweep(grace=timedelta(hours=1), now=LATER)
    if not winners:
        assert _make_other(tmp_path, *s3_place, fingerprints[0]) == fingerprints[0]
    assert len(visible(store.hot.directory)) == 1


def test_a_version_killed_at_any_request_is_never_half_visible(s3_place, tmp_path: Path) -> None:
    url, options = s3_place
    step, states = 1, set()
    while killed_at(step, _make, tmp_path / str(step), f"{url}/{step}", options):
        store = _store(tmp_path / str(step), f"{url}/{step}", options)
        seen = visible(store.hot.directory)
        states.add(len(seen))
        made = _make(tmp_path / str(step), f"{url}/{step}", options)
        assert visible(store.hot.directory) == [made]
        check_catalog(store)
        step += 5
    assert states == {0, 1}


def test_an_error_leaves_files_for_the_sweep_since_another_writer_may_be_at_work(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        _write_and_fail(draft)
    folder = store.hot.directory
    assert len(folder.files()) == 1
    assert visible(folder) == []
    assert store.sweep(grace=timedelta(hours=1)) == []
    assert store.sweep(grace=timedelta(hours=1), now=LATER) == [f"{folder.url}/{DATASET}/20261122T021500Z-4f2a9c"]
    assert folder.files() == {}


def _write(draft: VersionDraft, path: str, data: bytes) -> None:
    with draft.create(path) as writer:
        writer.write(data)


def _write_and_fail(draft: VersionDraft) -> None:
    _write(draft, "data/0.bin", b"x")
    raise ZeroDivisionError


def test_the_first_of_two_manifests_stays(store: Store) -> None:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as slow:
        with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as fast:
            first = fast.commit(Rows(), statistics={"who": "fast"})
        with pytest.raises(BusyError, match="another process has just committed"):
            slow.commit(Rows(), statistics={"who": "slow"})
        assert slow.commit(Rows(), statistics={"who": "fast"}) == first
    assert store.manifest(DATASET) == first


@pytest.mark.parametrize("size", [4, 9 << 20], ids=["small", "in parts"])
def test_a_slow_writer_never_changes_a_file_of_a_version_that_another_has_committed(store: Store, size: int) -> None:
    with pytest.raises(BusyError, match=r"another attempt has written another data/0.bin for"):
        _overtaken(store, b"fast" * (size // 4), b"slow" * (size // 4))
    assert store.verify(store.manifest(DATASET))
    assert store.directory(store.manifest(DATASET)).remove_unfinished(LATER) == []


def _overtaken(store: Store, fast_data: bytes, slow_data: bytes) -> None:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as slow:
        with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as fast:
            _write(fast, "data/0.bin", fast_data)
            fast.commit(Rows())
        _write(slow, "data/0.bin", slow_data)


def test_a_slow_writer_of_the_same_bytes_ends_with_the_version_of_the_fast_one(store: Store) -> None:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as slow:
        with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as fast:
            _write(fast, "data/0.bin", b"same")
            first = fast.commit(Rows())
        _write(slow, "data/0.bin", b"same")
        assert slow.commit(Rows()) == first
    assert store.verify(first)


def test_what_a_killed_attempt_left_with_other_bytes_is_kept_until_it_is_swept(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as killed:
        _write_and_fail(killed)
    with pytest.raises(BusyError, match="'dataflow datasets sweep' removes what a killed attempt left there"):
        _make_one(store, b"new")
    store.sweep(grace=timedelta(hours=1), now=LATER)
    assert store.verify(_make_one(store, b"new"))


def _make_one(store: Store, data: bytes) -> Manifest:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        _write(draft, "data/0.bin", data)
        return draft.commit(Rows())


def test_a_file_that_is_carried_on_never_changes_one_of_a_committed_version(store: Store) -> None:
    with store.draft(DATASET, at=SECOND, fingerprint="00aa11") as other:
        _write(other, "data/0.bin", b"other")
        source = other.commit(Rows())
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as slow:
        made = _make_one(store, b"mine")
        with pytest.raises(BusyError, match=r"another attempt has written another data/0.bin for"):
            slow.carry(source.files[0], store.directory(source))
        _write(slow, "data/0.bin", b"mine")
        assert slow.commit(Rows()) == made
    assert store.verify(made)
