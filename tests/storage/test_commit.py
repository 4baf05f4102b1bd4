"""How a version becomes visible: whole, once, and the same after any crash."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Rows, fingerprint_of
from airflow_dataflow.errors import BusyError, CorruptDataError, InvalidInputError, TransferError
from airflow_dataflow.storage.store import Store
from tests.killing import at_once, killed_at, steps_of
from tests.storage.versions import (
    DATASET,
    FIRST,
    SECOND,
    check_catalog,
    make,
    make_version,
    open_store,
    settled,
    tree,
    visible,
)

LATER = datetime.now(UTC) + timedelta(days=1)


def test_a_process_killed_at_any_step_leaves_nothing_half_and_a_retry_ends_the_same(tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    before = make(undisturbed, FIRST)
    only_first = tree(undisturbed / "hot")
    reference = make(undisturbed, SECOND)
    expected = tree(undisturbed / "hot")
    tried = []

    def kill(step: int) -> bool:
        folder = tmp_path / str(step)
        make(folder, FIRST)
        return killed_at(step, make, folder, SECOND)

    for step in steps_of(kill):
        folder = tmp_path / str(step)
        store = open_store(folder)
        seen = visible(store.hot.directory)
        assert seen in ([before], [before, reference])
        check_catalog(store)

        swept = tmp_path / "swept"
        shutil.copytree(folder, swept)
        open_store(swept).sweep(grace=timedelta(0), now=LATER)
        assert tree(swept / "hot") == (expected if len(seen) == 2 else only_first)
        shutil.rmtree(swept)

        assert make(folder, SECOND) == reference
        assert settled(tree(folder / "hot")) == expected
        store.sweep(grace=timedelta(0), now=LATER)
        assert tree(folder / "hot") == expected
        assert [manifest.reference for manifest in store.catalog.manifests(DATASET)] == [reference, before]
        check_catalog(store)
        shutil.rmtree(folder)
        tried.append(len(seen))
    assert tried.count(1) > 40, "most steps come before the version is visible"
    assert tried.count(2) > 5, "some come after it"


def test_processes_that_make_one_version_at_once_make_one(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        open_store(folder).catalog.datasets()
        answers = at_once(*[(make, (folder, FIRST))] * 3)
        references = {answer for answer in answers if not answer.startswith("BusyError")}
        assert len(references) == 1
        store = open_store(folder)
        assert visible(store.hot.directory) == [make(folder, FIRST)] == list(references)
        assert not [path for path in tree(folder / "hot") if "/." in path]
        check_catalog(store)


def test_a_version_that_another_process_is_making_is_not_touched(store: Store) -> None:
    fingerprint = fingerprint_of("x")
    with store.draft(DATASET, at=FIRST, fingerprint=fingerprint) as draft:
        with draft.create("data/0.bin") as writer:
            writer.write(b"x")
        with (
            pytest.raises(BusyError, match="another process is writing 20261122T021500Z-"),
            store.draft(DATASET, at=FIRST, fingerprint=fingerprint),
        ):
            pytest.fail("the block must not be entered")
        with draft.create("data/1.bin") as writer:
            writer.write(b"y")
            assert store.sweep(grace=timedelta(0), now=LATER) == []
        draft.commit(Rows())
    assert list(store.directory(store.manifest(DATASET)).files()) == [MANIFEST_NAME, "data/0.bin", "data/1.bin"]


def test_a_version_that_was_made_since_find_is_left_to_the_retry(store: Store) -> None:
    made = make_version(store, FIRST)
    with (
        pytest.raises(BusyError, match=f"another process has just made {made.reference}"),
        store.draft(DATASET, at=FIRST, fingerprint=made.fingerprint),
    ):
        pytest.fail("the block must not be entered")
    assert visible(store.hot.directory) == [made.reference]


def test_two_contents_never_share_one_id(store: Store) -> None:
    made = make_version(store, FIRST)
    with (
        pytest.raises(InvalidInputError, match="was made from something else"),
        store.draft(DATASET, at=FIRST, fingerprint=made.fingerprint[:6] + "0" * 58),
    ):
        pytest.fail("the block must not be entered")


def test_an_error_while_making_a_version_removes_its_files(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        _write_and_fail(draft)
    assert tree(tmp_path / "hot") == {}
    assert store.catalog.datasets() == []


def _write_and_fail(draft) -> None:
    with draft.create("data/0.bin") as writer:
        writer.write(b"x")
    raise ZeroDivisionError


def test_an_error_after_the_commit_keeps_the_version(store: Store) -> None:
    fingerprint = fingerprint_of("x")
    with pytest.raises(ZeroDivisionError), store.draft(DATASET, at=FIRST, fingerprint=fingerprint) as draft:
        _commit_and_fail(draft)
    found = store.find(DATASET, fingerprint)
    assert found is not None
    assert store.manifest(DATASET) == found


def _commit_and_fail(draft) -> None:
    draft.commit(Rows())
    raise ZeroDivisionError


def test_a_draft_that_is_never_committed_is_an_error_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidInputError, match="was never committed"),
        store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft,
        draft.create("data/0.bin") as writer,
    ):
        writer.write(b"x")
    assert tree(tmp_path / "hot") == {}


def test_what_the_caller_gets_is_what_a_reader_gets(store: Store) -> None:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        made = draft.commit(Rows(), statistics={"shape": (1, 2), "by_size": {1: "a"}}, recipe={"rules": ({"x": 1},)})
    stored = store.directory(made).read(MANIFEST_NAME)
    assert made.to_bytes() == stored
    assert made == store.manifest(DATASET)
    assert made.statistics == {"shape": [1, 2], "by_size": {"1": "a"}}


def test_a_file_that_changed_behind_our_back_stops_the_commit(store: Store, tmp_path: Path) -> None:
    with (
        pytest.raises(TransferError, match=r"data/0\.bin reads back as 1 bytes"),
        store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft,
    ):
        _write_then(draft, lambda path: path.write_bytes(b"?"))
    with (
        pytest.raises(TransferError, match=r"data/0\.bin is missing, but 10 bytes"),
        store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft,
    ):
        _write_then(draft, Path.unlink)
    assert tree(tmp_path / "hot") == {}


def _write_then(draft, change) -> None:
    with draft.create("data/0.bin") as writer:
        writer.write(b"x" * 10)
    change(Path(draft.directory.path("data/0.bin")))
    draft.commit(Rows())


def test_files_that_nobody_declared_are_no_part_of_the_version(store: Store) -> None:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        with draft.create("data/0.bin") as writer:
            writer.write(b"x")
        with draft.directory.create("data/stray.bin") as writer:
            writer.write(b"x")
        made = draft.commit(Rows())
    assert list(store.directory(made).files()) == [MANIFEST_NAME, "data/0.bin"]


@pytest.mark.parametrize("path", [MANIFEST_NAME, "./a", "a//b", "a/../b", "a/", "../a", "/a", "", "\udce9"])
def test_a_file_has_one_way_to_write_its_path_and_it_is_text(store: Store, path: str) -> None:
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        with pytest.raises(InvalidInputError), draft.create(path):
            pytest.fail("the block must not be entered")
        draft.commit(Rows())


def test_a_carried_file_shares_its_bytes_and_stays_when_the_old_version_goes(store: Store) -> None:
    first, second = make_version(store, FIRST), make_version(store, SECOND)
    old, new = (Path(store.directory(made).path("data/0.bin")) for made in (first, second))
    carried = Path(store.directory(second).path("data/carried.bin"))
    assert carried.samefile(old)
    store.remove_copy(store.hot, DATASET, first.version)
    assert not old.exists()
    assert new.exists()
    assert store.verify(second)


def test_a_carried_file_that_is_corrupt_stops_the_commit(store: Store) -> None:
    first = make_version(store, FIRST)
    Path(store.directory(first).path("data/0.bin")).write_bytes(b"?")
    with pytest.raises(TransferError, match=r"data/carried\.bin reads back as 1 bytes"):
        make_version(store, SECOND)


def test_a_local_folder_is_added_with_all_that_is_below_it(store: Store, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "metadata").mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"w" * 5)
    (model / "metadata" / "part-0").write_bytes(b"m")
    with store.draft("support/model", at=FIRST, fingerprint="4f2a9c", kind="model") as draft:
        draft.add_local_folder(model, "model")
        made = draft.commit(Rows())
    assert [(entry.path, entry.bytes) for entry in made.files] == [
        ("model/metadata/part-0", 1),
        ("model/weights.bin", 5),
    ]
    assert made.kind == "model"


def test_a_manifest_that_was_copied_elsewhere_is_no_version_there(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    folder = tmp_path / "hot" / DATASET
    other = folder / f"20200101T000000Z-{made.fingerprint[:6]}"
    shutil.copytree(folder / made.version, other)
    shutil.rmtree(folder / made.version)
    with pytest.raises(CorruptDataError, match=f"is that of {made.reference}"):
        store.find(DATASET, made.fingerprint)
