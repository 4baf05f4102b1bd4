"""Copying files, folders and patterns between any two places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.errors import (
    InvalidInputError,
    NotFoundError,
    SourceChangedError,
    TransferError,
    UnsupportedError,
)
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.copy import copy_path
from tests.killing import killed_at, steps_of
from tests.storage.versions import FIRST, make_version, open_store, settled, tree, visible

FILES = {
    "a.csv": b"a" * 10,
    "b.csv": b"b" * 20,
    "c.txt": b"",
    "deep/d.csv": b"d" * 30,
    "deep/er/e.csv": b"e" * 40,
    "odd name [1].csv": b"o" * 5,
}


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Return a folder of a few files."""
    for path, content in FILES.items():
        (tmp_path / "landing" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "landing" / path).write_bytes(content)
    return tmp_path / "landing"


def test_a_folder_is_copied_with_all_that_is_below_it(landing: Path, tmp_path: Path) -> None:
    report = copy_path(str(landing), str(tmp_path / "target"))
    assert tree(tmp_path / "target") == FILES
    assert (report.files, report.bytes_sent) == (len(FILES), sum(map(len, FILES.values())))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["a.csv", "b.csv", "odd name [1].csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("[bc].*", ["b.csv", "c.txt"]),
        ("**/*.csv", ["a.csv", "b.csv", "deep/d.csv", "deep/er/e.csv", "odd name [1].csv"]),
        ("deep/*", ["deep/d.csv"]),
        ("d*/*/*.csv", ["deep/er/e.csv"]),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_pattern_names_files(landing: Path, tmp_path: Path, pattern: str, expected: list[str], scheme: str) -> None:
    copy_path(f"{scheme}{landing}/{pattern}", f"{scheme}{tmp_path}/target")
    fixed = "deep/" if pattern.startswith("deep/") else ""
    assert tree(tmp_path / "target") == {path.removeprefix(fixed): FILES[path] for path in expected}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("a.csv", "new.csv", "new.csv"),
        ("a.csv", "new/folder/x.csv", "new/folder/x.csv"),
        ("a.csv", "folder/", "folder/a.csv"),
        ("a.csv", "existing", "existing/a.csv"),
        ("odd name [1].csv", "x.csv", "x.csv"),
    ],
)
def test_a_file_goes_to_the_path_or_into_the_folder(
    landing: Path, tmp_path: Path, source: str, target: str, expected: str
) -> None:
    (tmp_path / "target" / "existing").mkdir(parents=True)
    copy_path(f"{landing}/{source}", f"{tmp_path}/target/{target}")
    assert tree(tmp_path / "target") == {expected: FILES[source]}


@pytest.mark.parametrize("source", ["nothing", "*.parquet", "deep/er/empty"])
def test_a_source_that_names_no_file_is_an_error(landing: Path, tmp_path: Path, source: str) -> None:
    (landing / "deep" / "er" / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"names no file"):
        copy_path(f"{landing}/{source}", str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


def test_what_the_target_has_already_is_left_alone_and_what_differs_is_replaced(landing: Path, tmp_path: Path) -> None:
    copy_path(str(landing), str(tmp_path / "target"))
    (tmp_path / "target" / "a.csv").write_bytes(b"A" * 10)
    (tmp_path / "target" / "b.csv").write_bytes(b"")
    (tmp_path / "target" / "own.csv").write_bytes(b"own")
    report = copy_path(str(landing), str(tmp_path / "target"))
    assert report.bytes_sent == 30
    assert report.bytes_skipped == sum(map(len, FILES.values())) - 30
    assert tree(tmp_path / "target") == FILES | {"own.csv": b"own"}


def test_manifests_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_version(open_store(tmp_path), FIRST)
    order: list[str] = []
    original = Directory.put

    def put(self: Directory, relative: str, data: bytes) -> Any:
        order.append(relative)
        return original(self, relative, data)

    monkeypatch.setattr(Directory, "put", put)
    copy_path(str(tmp_path / "hot"), str(tmp_path / "target"))
    assert len(order) == len(made.files) + 1
    assert order[-1].endswith(MANIFEST_NAME)
    assert visible(Directory.from_url(str(tmp_path / "target"))) == [made.reference]


def _copy(source: Path, target: Path) -> None:
    copy_path(str(source), str(target))


def test_a_copy_killed_at_any_step_shows_whole_files_only_and_a_retry_finishes_it(
    landing: Path, tmp_path: Path
) -> None:
    for step in steps_of(lambda step: killed_at(step, _copy, landing, tmp_path / str(step)), every=3):
        target = tmp_path / str(step)
        there = settled(tree(target))
        assert there.items() <= FILES.items()
        report = copy_path(str(landing), str(target))
        assert report.bytes_skipped == sum(map(len, there.values()))
        assert settled(tree(target)) == FILES


@pytest.mark.s3
def test_files_travel_to_s3_and_back(landing: Path, tmp_path: Path, bucket: str, s3_options: dict[str, Any]) -> None:
    url = f"s3://{bucket}/there"
    sent = copy_path(str(landing), url, target_options=s3_options)
    assert (sent.files, sent.bytes_sent) == (len(FILES), sum(map(len, FILES.values())))
    between = copy_path(f"{url}/**/*.csv", f"s3://{bucket}/here", source_options=s3_options, target_options=s3_options)
    assert between.files == 5
    copy_path(f"s3://{bucket}/here", str(tmp_path / "back"), source_options=s3_options)
    assert tree(tmp_path / "back") == {path: FILES[path] for path in FILES if path.endswith(".csv")}
    copy_path(f"{url}/a.csv", f"{tmp_path}/one/", source_options=s3_options)
    assert tree(tmp_path / "one") == {"a.csv": FILES["a.csv"]}
    with pytest.raises(NotFoundError, match="names no file"):
        copy_path(f"{url}/nothing", str(tmp_path / "x"), source_options=s3_options)


@pytest.mark.s3
def test_a_source_that_changes_under_the_copy_ends_it_with_nothing_at_the_target(
    tmp_path: Path, bucket: str, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Directory.from_url(f"s3://{bucket}/source", s3_options)
    source.put("x", b"a" * (20 << 20))
    original = Directory.begin_upload

    def begin_upload(self: Directory, relative: str, **options: Any) -> Any:
        source.put("x", b"b" * (20 << 20))
        return original(self, relative, **options)

    monkeypatch.setattr(Directory, "begin_upload", begin_upload)
    with pytest.raises(SourceChangedError, match="x was replaced while it was being copied"):
        copy_path(f"{source.url}/x", str(tmp_path / "target" / "x"), source_options=s3_options)
    assert tree(tmp_path / "target") == {}


def test_a_link_that_leads_out_of_the_source_is_not_followed(landing: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1")
    (landing / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInputError, match=r"leads out of .*/landing through a symbolic link"):
        copy_path(str(landing), str(tmp_path / "target"))


def test_a_file_that_vanishes_on_arrival_is_reported(
    landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Directory.digest

    def digest(self: Directory, relative: str) -> tuple[str, int]:
        (tmp_path / "target" / relative).write_bytes(b"?")
        return original(self, relative)

    monkeypatch.setattr(Directory, "digest", digest)
    with pytest.raises(TransferError, match="reads back as 1 bytes"):
        copy_path(str(landing / "a.csv"), str(tmp_path / "target" / "a.csv"))
    assert tree(tmp_path / "target") == {}


def test_a_store_without_snapshots_says_so(landing: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cannot keep a snapshot"):
        copy_path(str(landing), str(tmp_path / "target"), from_snapshot=True)
    assert not (tmp_path / "target").exists()
