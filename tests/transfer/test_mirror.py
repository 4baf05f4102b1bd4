"""Mirrors: what the source does not have goes, but never by mistake, and never much of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport
from tests.killing import killed_at, steps_of
from tests.storage.versions import FIRST, make_version, open_store, settled, tree

FILES = {"a": b"1", "b": b"22", "deep/c": b"333", "deep/er/d": b""}
MIRROR = TransferOptions(mirror=True)


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder of a few files."""
    _fill(tmp_path / "source", FILES)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a folder that has some of them, and a few others."""
    _fill(tmp_path / "target", {"a": b"1", "b": b"xx", "deep/c": b"3", "old": b"old", "deep/old/er": b"older"})
    return tmp_path / "target"


def _mirror(source: Path, target: Path, **options: Any) -> TransferReport:
    return copy_path(str(source), str(target), options=TransferOptions(mirror=True, **options))


def test_files_that_the_source_does_not_have_are_removed_in_the_end(source: Path, target: Path) -> None:
    report = _mirror(source, target)
    assert tree(target) == FILES
    assert (report.files, report.files_removed) == (len(FILES), 2)
    assert _mirror(source, target).files_removed == 0


def test_a_dry_run_tells_what_would_be_removed_and_removes_nothing(source: Path, target: Path) -> None:
    before = tree(target)
    report = _mirror(source, target, dry_run=True)
    assert tree(target) == before
    assert (report.files_removed, report.bytes_sent, report.bytes_skipped) == (2, 5, 1)
    done = _mirror(source, target)
    assert (done.files_removed, done.bytes_sent, done.bytes_skipped) == (2, 5, 1)


@pytest.mark.parametrize(
    ("surplus", "fraction", "passes"),
    [(2, 0.5, True), (3, 0.5, True), (4, 0.5, False), (4, 0.6, True), (1, 0.0, False), (0, 0.0, True), (50, 1.0, True)],
)
def test_a_mirror_that_would_remove_too_much_changes_nothing(
    source: Path, tmp_path: Path, surplus: int, fraction: float, passes: bool
) -> None:
    target = tmp_path / "target"
    _fill(target, {"a": b"1", "b": b"old", "deep/c": b""} | {f"old/{number}": b"" for number in range(surplus)})
    before = tree(target)
    if passes:
        assert _mirror(source, target, most_removed_fraction=fraction).files_removed == surplus
        assert tree(target) == FILES
        return
    with pytest.raises(InvalidInputError, match=rf"{surplus} of the {surplus + 3} files in .*/target, such as 'old/0'"):
        _mirror(source, target, most_removed_fraction=fraction)
    assert tree(target) == before


@pytest.mark.parametrize("name", ["nothing", "empty", "*.parquet"])
def test_a_source_that_is_empty_or_missing_removes_nothing(source: Path, target: Path, name: str) -> None:
    (source / "empty").mkdir()
    before = tree(target)
    with pytest.raises(NotFoundError, match="names no file"):
        _mirror(source / name, target, most_removed_fraction=1.0)
    assert tree(target) == before


def test_one_of_several_sources_that_is_missing_removes_nothing(source: Path, target: Path, tmp_path: Path) -> None:
    before = tree(target)
    with pytest.raises(NotFoundError, match="nothing' names no file"):
        copy_path([str(source), str(tmp_path / "nothing")], str(target), options=MIRROR)
    assert tree(target) == before


def test_several_sources_are_mirrored_together(source: Path, target: Path, tmp_path: Path) -> None:
    _fill(tmp_path / "other", {"deep/x": b"x", "old": b"now"})
    report = copy_path([str(source), str(tmp_path / "other")], str(target), options=MIRROR)
    assert tree(target) == FILES | {"deep/x": b"x", "old": b"now"}
    assert report.files_removed == 1


def test_a_pattern_is_mirrored_as_the_files_that_it_names(source: Path, target: Path) -> None:
    report = copy_path(
        f"{source}/deep/**", str(target), options=TransferOptions(mirror=True, most_removed_fraction=1.0)
    )
    assert tree(target) == {"c": b"333", "er/d": b""}
    assert report.files_removed == 5


def test_a_single_file_is_no_mirror(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="mirror makes one folder equal to another"):
        _mirror(source / "a", tmp_path / "new")


@pytest.mark.parametrize(("one", "other"), [("", "deep"), ("deep", ""), ("deep", "deep")])
def test_folders_that_lie_in_each_other_are_no_mirrors(source: Path, one: str, other: str) -> None:
    before = tree(source)
    with pytest.raises(InvalidInputError, match="lie in each other"):
        _mirror(source / one, source / other, most_removed_fraction=1.0)
    assert tree(source) == before


def test_folders_and_files_that_change_places_are_mirrored(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    _fill(target, {"a/old/er": b"1", "a/old/est": b"2", "deep": b"3", "own": b"4"})
    before = tree(target)
    assert _mirror(source, target, most_removed_fraction=1.0, dry_run=True).files_removed == 4
    assert tree(target) == before
    assert _mirror(source, target, most_removed_fraction=1.0).files_removed == 4
    assert tree(target) == FILES


@pytest.mark.parametrize(
    ("there", "message"), [("a/old", "target/a is a folder, where a file"), ("deep", "target/deep is a file, where a")]
)
def test_without_a_mirror_nothing_gives_way(source: Path, tmp_path: Path, there: str, message: str) -> None:
    _fill(source, {str(number): b"" for number in range(9)})
    _fill(tmp_path / "target", {there: b"1"})
    with pytest.raises(InvalidInputError, match=message):
        copy_path(str(source), str(tmp_path / "target"))
    assert tree(tmp_path / "target") == {there: b"1"}


def test_files_of_writers_at_work_are_neither_copied_nor_removed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    busy = {f".{'0' * 32}.partial": b"half", "deep/.x.dataflow-lock": b""}
    _fill(source, busy)
    _fill(target, {"deep/.y.dataflow-lock": b"", f"deep/.{'1' * 32}.partial": b"h"})
    report = _mirror(source, target, most_removed_fraction=0.0)
    assert (report.files, report.files_removed) == (len(FILES), 0)
    assert sorted(tree(target)) == sorted([*FILES, "deep/.y.dataflow-lock", f"deep/.{'1' * 32}.partial"])


def test_a_version_loses_its_manifest_first(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    made = make_version(open_store(tmp_path), FIRST)
    copy_path(str(tmp_path / "hot"), str(target))
    removed: list[str] = []
    monkeypatch.setattr(Directory, "remove", lambda _self, path: removed.append(path))
    _mirror(source, target, most_removed_fraction=1.0)
    assert removed[0].endswith(MANIFEST_NAME)
    assert len(removed) == len(made.files) + 1


def _act(source: Path, target: Path) -> None:
    _mirror(source, target)


def test_a_mirror_killed_at_any_step_is_completed_by_the_next_one(source: Path, tmp_path: Path) -> None:
    old = {"a": b"1", "b": b"old", "old": b"old", "deep/old": b""}

    def kill(step: int) -> bool:
        _fill(tmp_path / str(step), old)
        return killed_at(step, _act, source, tmp_path / str(step))

    for step in steps_of(kill, every=4):
        target = tmp_path / str(step)
        for path, content in settled(tree(target)).items():
            assert content in (FILES.get(path), old.get(path))
        _mirror(source, target)
        assert settled(tree(target)) == FILES


@pytest.mark.s3
def test_a_prefix_on_s3_is_mirrored(source: Path, bucket: str, s3_options: dict[str, Any], tmp_path: Path) -> None:
    prefix = Directory.from_url(f"s3://{bucket}/mirror", s3_options)
    for path in ("old+%1", "deep/old"):
        prefix.put(path, b"old")
    beside = Directory.from_url(f"s3://{bucket}/mirror-beside", s3_options)
    beside.put("stays", b"")
    most = TransferOptions(mirror=True, most_removed_fraction=1.0)
    report = copy_path(str(source), prefix.url, target_options=s3_options, options=most)
    assert (report.files, report.files_removed) == (len(FILES), 2)
    assert prefix.files() == {path: len(content) for path, content in FILES.items()}
    assert list(beside.files()) == ["stays"]
    back = copy_path(prefix.url, str(tmp_path / "back"), source_options=s3_options, options=MIRROR)
    assert (back.files_removed, tree(tmp_path / "back")) == (0, FILES)
