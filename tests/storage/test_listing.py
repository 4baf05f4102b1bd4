"""What lies in a folder, and which of it a path means."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.storage.listing import FoundFile, Listing, Selection, list_files, look_at, url_of

LOCAL = fsspec.filesystem("file")
NAMES = [
    "day=1/a.csv",
    "day=1/b.csv.gz",
    "day=1/c.orc",
    "day=2/a.csv",
    "day=2/deep/er/d.csv",
    "day=2/_SUCCESS",
    "day=2/.hidden/e.csv",
    "day=2/f.csv.part",
    "x[1].csv",
    "x1.csv",
    "y.csv/g.csv",
]


def listing_of(*names: str) -> Listing:
    """Return a listing of files below ``/lake``."""
    return Listing(FoundFile(f"/lake/{name}", 1, "s", 0.0) for name in names)


@pytest.mark.parametrize(
    ("path", "suffixes", "found"),
    [
        ("/lake", {".csv"}, [0, 1, 3, 4, 8, 9, 10]),
        ("/lake/day=1", {".csv"}, [0, 1]),
        ("/lake/day=1/", None, [0, 1, 2]),
        ("/lake/day=1", {".orc"}, [2]),
        ("/lake/day=*/*.csv", None, [0, 3]),
        ("/lake/day=?/a*", None, [0, 3]),
        ("/lake/**/d.csv", {".csv"}, [4]),
        ("/lake/day=[13]/*", {".csv"}, [0, 1]),
        ("/lake/x[1].csv", None, [8]),
        ("/lake/x[12].csv", None, [9]),
        ("/lake/day=2/_SUCCESS", {".csv"}, [5]),
        ("/lake/day=2/f.csv.part", {".csv"}, [7]),
        ("/lake/y.csv", None, [10]),
        ("/lake/day=", None, []),
        ("/", {".orc"}, [2]),
    ],
)
def test_a_path_means_a_folder_a_file_or_a_pattern(path: str, suffixes: set[str] | None, found: list[int]) -> None:
    selection = Selection(path, None if suffixes is None else frozenset(suffixes))
    assert [file.path for file in selection(listing_of(*NAMES))] == sorted(f"/lake/{NAMES[index]}" for index in found)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("b/landing", "b/landing"),
        ("b/landing/", "b/landing"),
        ("b/landing/a.csv", "b/landing"),
        ("b/landing/v1.2/", "b/landing/v1.2"),
        ("b/landing/day=*/x", "b/landing"),
        ("b/day=1/x*.csv", "b/day=1"),
        ("/*.csv", "/"),
    ],
)
def test_one_folder_is_enough_to_list(path: str, folder: str) -> None:
    assert Selection(path).folder == folder


@given(st.lists(st.text(alphabet="ab/", min_size=1, max_size=6), unique=True), st.text(alphabet="ab/", max_size=4))
def test_files_below_a_prefix_are_found_as_by_looking_at_all(names: list[str], prefix: str) -> None:
    listing = Listing(FoundFile(name, 1, None, None) for name in names)
    expected = sorted(name for name in names if name.startswith(prefix))
    assert [file.path for file in listing.starting_with(prefix)] == expected


def test_a_local_folder_is_listed_with_sizes_and_times(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a").write_text("abc")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    listing = list_files(LOCAL, str(tmp_path))
    (file,) = listing.files.values()
    status = (tmp_path / "deep" / "er" / "a").stat()
    assert file == FoundFile(f"{tmp_path}/deep/er/a", 3, f"mtime:{status.st_mtime}", status.st_mtime)
    assert list(list_files(LOCAL, file.path).files) == [file.path]
    missing = list_files(LOCAL, str(tmp_path / "nowhere"))
    assert (missing.files, missing.missing, listing.missing) == ({}, True, False)


@pytest.mark.parametrize("count", [3, 30])
def test_single_files_are_described_and_folders_opened(tmp_path: Path, count: int) -> None:
    paths = [str(tmp_path / f"{number}.csv") for number in range(count)]
    Path(paths[0]).write_text("x")
    Path(paths[1]).mkdir()
    (Path(paths[1]) / "part").write_text("y")
    (tmp_path / "other.csv").write_text("z")
    assert list(look_at(LOCAL, paths).files) == [paths[0], f"{paths[1]}/part"]
    assert look_at(LOCAL, [str(tmp_path / "nowhere" / name) for name in "abcdefghijk"]).files == {}


@pytest.mark.s3
def test_a_bucket_is_listed_with_etags_and_times(bucket: str, s3_options: dict[str, object]) -> None:
    fs = fsspec.filesystem("s3", **s3_options, use_listings_cache=False)
    fs.pipe({f"{bucket}/in/{name}": b"abc" for name in ("a.csv", "deep/b.csv")})
    listing = list_files(fs, f"{bucket}/in")
    assert list(listing.files) == [f"{bucket}/in/a.csv", f"{bucket}/in/deep/b.csv"]
    assert all(file.stamp and file.stamp.startswith("ETag:") and file.modified for file in listing.files.values())
    assert look_at(fs, [f"{bucket}/in/a.csv", f"{bucket}/in/none.csv"]).files.keys() == {f"{bucket}/in/a.csv"}
    assert list_files(fs, f"{bucket}/nothing").files == {}


@pytest.mark.parametrize(
    ("place", "path", "url"),
    [
        ("s3://bucket/x", "bucket/x/a b.csv", "s3://bucket/x/a b.csv"),
        ("s3://conn@bucket", "bucket/a", "s3://bucket/a"),
        ("hdfs://conn@host:8020/x", "/x/a", "hdfs://host:8020/x/a"),
        ("/data", "/data/a b", "file:///data/a%20b"),
        ("file:///data", "/data/a", "file:///data/a"),
    ],
)
def test_a_url_names_no_connection(place: str, path: str, url: str) -> None:
    assert url_of(place, path) == url
