"""What the backend for HDFS adds: policies, checksums, snapshots, whole files, killed writers."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.errors import InvalidInputError, NotFoundError, UnsupportedError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.policy import set_storage_policy
from airflow_dataflow.testing.contents import LARGE, digest, write
from airflow_dataflow.transfer.copy import copy_path
from tests.killing import killed_at
from tests.storage.hdfs.clusters import MIB, SCHEMES, block_types, folder_on, options_of
from tests.storage.versions import tree

pytestmark = pytest.mark.hdfs
both = pytest.mark.parametrize("scheme", SCHEMES)


@pytest.fixture
def directory(hdfs_cluster: HdfsCluster) -> Directory:
    """Return a folder that does not exist yet."""
    return folder_on(hdfs_cluster, "hdfs")


# storage policies ---------------------------------------------------------------------------------


def test_the_blocks_of_a_cold_file_lie_on_archive_after_the_mover_ran(
    hdfs_cluster: HdfsCluster, directory: Directory
) -> None:
    write(directory, "a/cold.bin", LARGE)
    write(directory, "a/hot.bin", LARGE)
    assert set(block_types(directory, "a/cold.bin")) == {"DISK"}
    report = set_storage_policy(Directory(directory.fs, directory.path("a/cold.bin")), "COLD")
    assert (report.policy, report.files_changed, report.moving) == ("COLD", 1, True)
    assert set(block_types(directory, "a/cold.bin")) == {"DISK"}
    hdfs_cluster.move(directory.root)
    assert set(block_types(directory, "a/cold.bin")) == {"ARCHIVE"}
    assert set(block_types(directory, "a/hot.bin")) == {"DISK"}
    assert directory.digest("a/cold.bin") == digest(LARGE)


def test_a_cluster_with_a_satisfier_moves_the_blocks_by_itself(hdfs_cluster: HdfsCluster, directory: Directory) -> None:
    write(directory, "a/x.bin", LARGE)
    with hdfs_cluster.satisfier():
        assert set_storage_policy(directory, "ALL_SSD").moving
        deadline = time.monotonic() + 60
        while set(block_types(directory, "a/x.bin")) != {"SSD"}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert directory.digest("a/x.bin") == digest(LARGE)


def test_new_files_in_a_folder_lie_where_its_policy_wants_them(directory: Directory) -> None:
    write(directory, "old", b"x")
    assert directory.backend.set_storage_class(directory.root, "ALL_SSD") == 1
    write(directory, "sub/new", LARGE)
    assert directory.backend.storage_class(directory.path("sub/new")) == "ALL_SSD"
    assert set(block_types(directory, "sub/new")) == {"SSD"}


def test_files_and_folders_with_a_policy_of_their_own_follow_too(directory: Directory) -> None:
    for path in ("a", "own", "sub/x", "sub/own"):
        write(directory, path, b"x")
    backend = directory.backend
    for path in ("own", "sub", "sub/own"):
        backend.set_storage_class(directory.path(path), "WARM")
    assert backend.set_storage_class(directory.root, "COLD") == 4
    assert {backend.storage_class(directory.path(path)) for path in ("a", "own", "sub", "sub/x", "sub/own")} == {"COLD"}
    assert backend.set_storage_class(directory.root, "COLD") == 0


def test_a_policy_that_no_cluster_has_is_refused_with_the_closest(directory: Directory) -> None:
    write(directory, "x", b"x")
    with pytest.raises(InvalidInputError, match=r"no storage policy named 'COOL' .*did you mean 'COLD'"):
        set_storage_policy(directory, "COOL")
    with pytest.raises(NotFoundError, match="nothing at hdfs://"):
        set_storage_policy(directory.child("y"), "COLD")


# what the NameNode knows --------------------------------------------------------------------------


@both
def test_equal_files_have_one_checksum_and_different_ones_another(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    for path, data in (("a", b"x" * 1000), ("b", b"x" * 1000), ("c", b"y" * 1000)):
        write(directory, path, data)
    sums = [directory.checksum(path) for path in "abc"]
    assert sums[0] == sums[1] != sums[2]
    assert str(sums[0]).startswith("MD5-of-0MD5-of-512CRC32C:")
    with pytest.raises(FileNotFoundError):
        directory.checksum("d")


@both
def test_a_second_copy_inside_hdfs_reads_nothing_but_what_changed(
    hdfs_cluster: HdfsCluster, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, options = folder_on(hdfs_cluster, scheme), options_of(hdfs_cluster)
    source, target = directory.child("from"), directory.child("to")
    for path in ("a", "b"):
        write(source, path, LARGE)
    places = {"source_options": options, "target_options": options}
    assert copy_path(source.url, target.url, **places).bytes_sent == 2 * len(LARGE)
    monkeypatch.setattr(Directory, "digest", lambda self, relative: pytest.fail(f"{relative} was read"))
    assert copy_path(source.url, target.url, **places).bytes_skipped == 2 * len(LARGE)
    monkeypatch.undo()
    changed = LARGE[:-1] + b"!"
    write(source, "b", changed)
    assert copy_path(source.url, target.url, **places).bytes_sent == len(LARGE)
    assert target.digest("b") == digest(changed)


@both
def test_a_folder_is_copied_as_it_was_when_the_copy_began(
    hdfs_cluster: HdfsCluster, tmp_path: Path, scheme: str
) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    options = options_of(hdfs_cluster)
    for number in range(3):
        write(directory, f"a/{number}", b"old")

    def change(what: str, done: int, total: int, unit: str) -> None:
        write(directory, "a/2", b"newer")
        write(directory, "a/3", b"new")

    def copy() -> None:
        copy_path(directory.url, str(tmp_path / "copy"), source_options=options, from_snapshot=True, progress=change)

    with pytest.raises(InvalidInputError, match="-allowSnapshot"):
        copy()
    hdfs_cluster.admin("-allowSnapshot", directory.root)
    copy()
    assert tree(tmp_path / "copy") == {f"a/{number}": b"old" for number in range(3)}
    assert directory.files() == {"a/0": 3, "a/1": 3, "a/2": 5, "a/3": 3}
    assert directory.fs.ls(f"{directory.root}/.snapshot") == []


def test_a_snapshot_that_a_killed_process_left_is_replaced(hdfs_cluster: HdfsCluster, directory: Directory) -> None:
    write(directory, "x", b"old")
    hdfs_cluster.admin("-allowSnapshot", directory.root)
    directory.fs.web.call("PUT", "CREATESNAPSHOT", directory.root, snapshotname="left")
    write(directory, "x", b"newer")
    with directory.backend.snapshot(directory.root, "left") as path:
        assert Directory(directory.fs, path).read("x") == b"newer"


@both
def test_the_space_is_that_of_the_datanodes_without_the_copies(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    backend = folder_on(hdfs_cluster, scheme).backend
    state = backend.fs.web.bean("FSNamesystemState")
    assert backend.capacity_bytes("/") == state["CapacityTotal"] // 2
    free = backend.free_bytes("/nothing/here")
    assert free is not None
    assert abs(free - state["CapacityRemaining"] // 2) < 1 << 30


# files --------------------------------------------------------------------------------------------


@both
def test_a_writer_that_was_killed_leaves_nothing_that_a_listing_shows_or_a_sweep_keeps(
    hdfs_cluster: HdfsCluster, scheme: str
) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    write(directory, "x", b"x")
    assert killed_at(6, write_large, directory.url, options_of(hdfs_cluster))
    assert directory.files() == {"x": 1}
    hidden = [path for path in directory.fs.find(directory.root) if path.endswith(".partial")]
    assert len(hidden) == 1
    assert directory.remove_unfinished(datetime.now(UTC) - timedelta(hours=1)) == []
    assert directory.remove_unfinished(datetime.now(UTC) + timedelta(hours=1)) == hidden
    assert directory.fs.find(directory.root) == [directory.path("x")]


@both
def test_parquet_is_read_in_parts(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    table = pa.table({"number": list(range(200_000)), "text": [f"row {n}" for n in range(200_000)]})
    with directory.create("t.parquet") as writer:
        pq.write_table(table, writer, row_group_size=20_000)
    with directory.open("t.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(7, columns=["number"])["number"][0].as_py() == 140_000
    assert pq.read_table(directory.path("t.parquet"), filesystem=directory.fs).equals(table)


@both
def test_fsspec_writes_whole_files_or_none(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    fs, path = directory.fs, directory.path("a/b.txt")
    with fs.open(path, "w") as file:
        file.write("ä")
    with pytest.raises(ZeroDivisionError), fs.open(path, "wb") as file:
        write_and_fail(file)
    assert fs.open(path, "r").read() == "ä"
    fs.mv(path, directory.path("a/c.txt"))
    assert fs.find(directory.root) == [directory.path("a/c.txt")]
    assert fs.glob(directory.path("*/c.*")) == [directory.path("a/c.txt")]
    assert fs.glob(directory.path("none/*")) == []
    assert fs.cat_file(directory.path("a/c.txt"), start=1) == "ä".encode()[1:]
    with pytest.raises(UnsupportedError, match="as a whole"):
        fs.open(path, "ab")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(directory.path("a"))


def write_large(url: str, options: dict[str, Any]) -> None:
    """Write a file in pieces, in a process that is killed at one of them."""
    write(Directory.from_url(url, options), "big", LARGE)


def write_and_fail(file: io.RawIOBase) -> None:
    """Write more than one piece, and fail."""
    file.write(b"x" * 3 * MIB)
    raise ZeroDivisionError
