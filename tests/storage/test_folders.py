"""Plain folders act as a store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows, fingerprint_of
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.folders import FolderStore
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


def test_a_version_is_made_in_the_target_folder_itself(tmp_path: Path) -> None:
    made = make(FolderStore(tmp_path / "clean", []), "clean", b"rows")
    assert (tmp_path / "clean" / "data" / "a.bin").read_bytes() == b"rows"
    assert Manifest.from_bytes((tmp_path / "clean" / MANIFEST_NAME).read_bytes(), "") == made


def test_a_folder_with_a_version_is_a_source_wherever_it_was_copied(tmp_path: Path) -> None:
    made = make(FolderStore(tmp_path / "clean", []), "clean", b"rows")
    (tmp_path / "clean").rename(tmp_path / "moved")
    store = FolderStore(tmp_path / "features", [tmp_path / "moved"])
    assert store.references == [made.reference]
    assert store.manifest("clean@latest") == made
    assert store.directory(made).read("data/a.bin") == b"rows"
    assert make(store, "features", b"numbers").dataset == "features"


def test_the_same_work_finds_what_it_made_before(tmp_path: Path) -> None:
    first = make(FolderStore(tmp_path / "clean", []), "clean", b"rows")
    later = datetime(2026, 11, 24, tzinfo=UTC)
    assert make(FolderStore(tmp_path / "clean", []), "clean", b"rows", later) == first


def test_other_work_never_touches_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("five years")
    make(FolderStore(tmp_path / "clean", []), "clean", b"rows")
    for folder in ("mine", "clean"):
        before = sorted((tmp_path / folder).rglob("*"))
        with pytest.raises(InvalidInputError, match="is not empty"):
            make(FolderStore(tmp_path / folder, []), "clean", b"other rows")
        assert sorted((tmp_path / folder).rglob("*")) == before


@pytest.mark.parametrize("prepare", [lambda _folder: None, Path.mkdir], ids=["absent", "without a manifest"])
def test_a_source_without_a_version_is_refused(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path / "raw")
    with pytest.raises(NotFoundError, match="holds no version"):
        FolderStore(tmp_path / "clean", [tmp_path / "raw"])


def test_a_version_that_fails_leaves_no_folder_with_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "clean", [])
    with (
        pytest.raises(ZeroDivisionError),
        store.draft("clean", at=AT, fingerprint=fingerprint_of("x")) as draft,
        draft.create("a.bin") as file,
    ):
        file.write(bytes([1 // 0]))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
