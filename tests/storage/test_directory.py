"""Folders: where they are, what may be named in them, and writing through other libraries."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.errors import InvalidInputError, MissingPackageError, StorageFullError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.writing import HashingWriter


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory.from_url(str(tmp_path / "root"))


@pytest.mark.parametrize("name", ["plain", "with space", "100%25", "a#b", "[ab]*?", "ä"])
def test_a_local_path_is_taken_literally(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "x").write_bytes(b"1")
    assert Directory.from_url(str(tmp_path / name)).files() == {"x": 1}
    assert Directory.from_url(f"file://{tmp_path}/{name}").files() == {"x": 1}


def test_a_relative_path_is_that_of_this_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = Directory.from_url("a/../b/")
    monkeypatch.chdir("/")
    assert directory.url == f"file://{tmp_path}/b"


def test_the_url_of_a_folder_opens_it_again(directory: Directory) -> None:
    child = directory.child("a/b")
    assert Directory.from_url(child.url).root == child.root
    folder, name = child.parent()
    assert (folder.root, name) == (directory.child("a").root, "b")


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(InvalidInputError, match="'zzz://bucket/x' names no place: Protocol not known: zzz"):
        Directory.from_url("zzz://bucket/x")


def test_a_scheme_whose_package_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(MissingPackageError, match="abfs:// needs a package that is not installed"):
        Directory.from_url("abfs://bucket/x")


@pytest.mark.parametrize("target", ["../outside", "/etc", "..", "inside/../../outside"])
def test_a_symbolic_link_that_leads_out_is_refused(directory: Directory, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"1")
    (tmp_path / "root" / "inside").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(target)
    for act in (directory.read, directory.exists, directory.remove, directory.child):
        with pytest.raises(InvalidInputError, match=r"leads out of .*/root through a symbolic link"):
            act("link/secret")
    with pytest.raises(InvalidInputError, match="leads out"), directory.create("link/new"):
        pytest.fail("the block must not be entered")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]


def test_a_symbolic_link_that_stays_inside_and_one_to_the_folder_itself_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "disk" / "a" / "x").write_bytes(b"1")
    (tmp_path / "disk" / "b").symlink_to("a")
    (tmp_path / "root").symlink_to("disk")
    directory = Directory.from_url(str(tmp_path / "root"))
    assert directory.read("a/x") == directory.read("b/x") == b"1"


def test_removing_a_folder_leaves_what_its_links_point_to(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"1")
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "outside")
    directory.child("a").remove_all()
    assert (tmp_path / "outside" / "x").exists()
    assert not (tmp_path / "root" / "a").exists()


def test_files_that_are_being_written_are_not_listed(directory: Directory, tmp_path: Path) -> None:
    with directory.create("a/x") as writer:
        writer.write(b"1")
        assert directory.files() == {}
        assert [path.suffix for path in (tmp_path / "root" / "a").iterdir()] == [".partial"]


def test_a_long_name_leaves_room_for_being_written(directory: Directory) -> None:
    with directory.create("n" * 255) as writer:
        writer.write(b"1")
    assert directory.files() == {"n" * 255: 1}


class _FullDisk:
    """A file on a disk that takes a few bytes and no more."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def write(self, data: memoryview) -> int:
        self.room_bytes -= len(data)
        if self.room_bytes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)

    def flush(self) -> None: ...


def _by_polars(file) -> None:
    pl.DataFrame({"a": range(100_000)}).lazy().sink_parquet(file)


def _by_pyarrow(file) -> None:
    pq.write_table(pa.table({"a": range(100_000)}), file)


@pytest.mark.parametrize("write", [_by_polars, _by_pyarrow])
def test_other_libraries_write_through_it_and_the_digest_is_right(directory: Directory, write) -> None:
    with directory.create("a.parquet") as writer:
        write(writer)
    assert directory.digest("a.parquet") == (writer.digest, writer.bytes_written)
    with directory.open("a.parquet") as file:
        assert pq.read_table(file).num_rows == 100_000


@pytest.mark.parametrize("write", [_by_polars, _by_pyarrow])
def test_an_error_of_the_disk_survives_the_libraries_that_write_through_it(
    directory: Directory, write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HashingWriter, "__init__", _with_little_room(HashingWriter.__init__))
    with (
        pytest.raises(StorageFullError, match=r"no space left while writing a\.parquet"),
        directory.create("a.parquet") as writer,
    ):
        write(writer)
    assert directory.files() == {}


def _with_little_room(original):
    def init(self, file) -> None:
        original(self, _FullDisk(room_bytes=5000))

    return init


def test_a_link_is_not_listed_as_a_folder(directory: Directory, tmp_path: Path) -> None:
    for path in ("outside", "root/inside"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "other").symlink_to("inside")
    assert directory.folders() == ["inside"]


def test_a_refusal_elsewhere_that_passes_through_a_block_is_not_blamed_on_its_file(
    directory: Directory, tmp_path: Path
) -> None:
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "elsewhere" / "x"))
    with pytest.raises(PermissionError) as caught, directory.create("a/x"):
        raise refused
    assert caught.value is refused
