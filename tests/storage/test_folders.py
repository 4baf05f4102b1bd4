"""Plain folders act as a store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows, fingerprint_of
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.folders import new_version_in
from airflow_dataflow.storage.store import Store

AT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


def make(store: Store, dataset: str, content: bytes, at: datetime = AT) -> Manifest:
    """Make a version with one file, or find it."""
    fingerprint = fingerprint_of([dataset, content.decode()])
    found = store.find(dataset, fingerprint)
    if found is not None:
        return found
    with store.draft(dataset, at=at, fingerprint=fingerprint) as draft:
        with draft.create("data/a.bin") as file:
            file.write(content)
        return draft.commit(Rows())


def make_in(target: Path, dataset: str, content: bytes, *sources: Path, at: datetime = AT) -> Manifest:
    """Make a version in a folder."""
    with new_version_in(target, sources) as store:
        return make(store, dataset, content, at)


def everything(folder: Path) -> list[str]:
    """Return all that is below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_version_appears_in_the_target_folder_itself(tmp_path: Path) -> None:
    made = make_in(tmp_path / "clean", "clean", b"rows")
    assert everything(tmp_path) == ["clean", "clean/_manifest.json", "clean/data", "clean/data/a.bin"]
    assert Manifest.from_bytes((tmp_path / "clean" / MANIFEST_NAME).read_bytes(), "") == made


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    make_in(tmp_path / "clean", "clean", b"rows")
    assert (tmp_path / "clean" / "data" / "a.bin").read_bytes() == b"rows"


def test_a_folder_with_a_version_is_a_source_wherever_it_was_moved(tmp_path: Path) -> None:
    made = make_in(tmp_path / "clean", "clean", b"rows")
    (tmp_path / "clean").rename(tmp_path / "moved")
    with new_version_in(tmp_path / "features", [tmp_path / "moved"]) as store:
        assert store.references == [made.reference]
        assert store.manifest("clean@latest") == made
        assert store.directory(made).read("data/a.bin") == b"rows"
        assert make(store, "features", b"numbers").dataset == "features"


def test_the_same_work_finds_what_it_made_before(tmp_path: Path) -> None:
    first = make_in(tmp_path / "clean", "clean", b"rows")
    later = datetime(2026, 11, 24, tzinfo=UTC)
    assert make_in(tmp_path / "clean", "clean", b"rows", at=later) == first


@pytest.mark.parametrize("taken", ["mine", "clean", "file.txt"])
def test_other_work_never_touches_what_is_there(tmp_path: Path, taken: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("five years")
    (tmp_path / "file.txt").write_text("five years")
    make_in(tmp_path / "clean", "clean", b"rows")
    before = everything(tmp_path)
    with pytest.raises(InvalidInputError, match="is not empty"):
        make_in(tmp_path / taken, "clean", b"other rows")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("prepare", [lambda _folder: None, Path.mkdir], ids=["absent", "without a manifest"])
def test_a_source_without_a_version_is_refused(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path / "raw")
    with pytest.raises(NotFoundError, match="holds no version"):
        make_in(tmp_path / "clean", "clean", b"rows", tmp_path / "raw")


def test_a_version_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        new_version_in(tmp_path / "clean", []) as store,
        store.draft("clean", at=AT, fingerprint=fingerprint_of("x")) as draft,
        draft.create("a.bin") as file,
    ):
        file.write(bytes([1 // 0]))
    assert everything(tmp_path) == []


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".clean.partial" / "version" / "data").mkdir(parents=True)
    make_in(tmp_path / "clean", "clean", b"rows")
    assert everything(tmp_path) == ["clean", "clean/_manifest.json", "clean/data", "clean/data/a.bin"]
