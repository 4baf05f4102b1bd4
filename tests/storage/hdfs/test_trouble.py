"""What goes wrong on HDFS, and what a person reads then."""

from __future__ import annotations

import socket

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.errors import (
    AccessDeniedError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    TransferError,
    TransientError,
    is_terminal,
)
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import write
from tests.storage.hdfs.clusters import MIB, SCHEMES, folder_on, options_of

both = pytest.mark.parametrize("scheme", SCHEMES)
on_hdfs = pytest.mark.hdfs


@on_hdfs
@both
def test_a_namenode_in_safe_mode_is_named_and_the_task_is_tried_again(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    write(directory, "old", b"old")
    hdfs_cluster.enter_safe_mode()
    with pytest.raises(TransientError, match="NameNode is in safe mode"):
        write(directory, "new", b"new")
    assert directory.read("old") == b"old"
    hdfs_cluster.leave_safe_mode()
    write(directory, "new", b"new")
    assert directory.files() == {"new": 3, "old": 3}


@on_hdfs
@both
def test_a_user_who_may_not_write_is_told_so(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    mine = folder_on(hdfs_cluster, scheme)
    write(mine, "x", b"x")
    theirs = Directory.from_url(mine.url, options_of(hdfs_cluster, user="somebody"))
    assert theirs.read("x") == b"x"
    with pytest.raises(AccessDeniedError, match=r"HDFS refuses y at /\w+/y to somebody .*Permission denied"):
        write(theirs, "y", b"y")
    with pytest.raises(AccessDeniedError, match="Permission denied"):
        theirs.remove("x")
    assert mine.files() == {"x": 1}


@on_hdfs
@both
def test_a_folder_that_may_not_be_read_is_an_error_and_not_empty(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    mine = folder_on(hdfs_cluster, scheme)
    write(mine, "x", b"x")
    mine.fs.web.call("PUT", "SETPERMISSION", mine.root, permission="700")
    theirs = Directory.from_url(mine.url, options_of(hdfs_cluster, user="somebody"))
    for act in (theirs.files, theirs.folders, lambda: theirs.exists("x"), lambda: theirs.read("x")):
        with pytest.raises(AccessDeniedError, match="Permission denied"):
            act()


@on_hdfs
@both
@pytest.mark.parametrize(("quota_bytes", "wanted_bytes"), [(MIB, 1000), (5 * MIB, 6 * MIB)], ids=["small", "large"])
def test_a_quota_that_is_full_is_named_and_nothing_is_left(
    hdfs_cluster: HdfsCluster, scheme: str, quota_bytes: int, wanted_bytes: int
) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    write(directory, "x", b"x")
    hdfs_cluster.admin("-setSpaceQuota", str(quota_bytes), directory.root)
    copies = 2
    assert directory.backend.capacity_bytes(directory.root) == quota_bytes // copies
    assert directory.backend.free_bytes(directory.path("new/folder")) == (quota_bytes - copies) // copies
    with pytest.raises(StorageFullError, match=r"no space left on HDFS while writing y .*quota"):
        write(directory, "y", b"y" * wanted_bytes)
    assert directory.files() == {"x": 1}
    assert [path for path in directory.fs.find(directory.root) if "partial" in path] == []


@on_hdfs
@both
def test_what_is_missing_is_missing_by_both_ways(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    with pytest.raises(NotFoundError, match="no file 'x'"):
        directory.read("x")
    write(directory, "file", b"x")
    assert not directory.exists("file/below")
    with pytest.raises(NotADirectoryError):
        write(directory, "file/below", b"x")
    with pytest.raises(IsADirectoryError):
        directory.fs.open(directory.root)


@on_hdfs
@both
def test_a_name_that_hdfs_does_not_take_is_named(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    with pytest.raises(InvalidInputError, match=r"a:b"):
        write(directory, "a:b", b"x")


@on_hdfs
@both
def test_a_name_that_is_too_long_or_that_of_a_folder_fails_at_once(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    write(directory, "folder/x", b"x")
    for name, kind in (("n" * 256, OSError), ("folder", IsADirectoryError)):
        with pytest.raises(kind) as caught:
            write(directory, name, b"x")
        assert is_terminal(caught.value)
    assert directory.files() == {"folder/x": 1}


@on_hdfs
@both
@pytest.mark.parametrize("path", ["{}/in/../in/x", "{}/./in/x", "/../../jmx", "/../.."])
def test_a_path_with_dots_reaches_no_other_place(hdfs_cluster: HdfsCluster, scheme: str, path: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    write(directory, "in/x", b"x")
    with pytest.raises(OSError):  # noqa: PT011 - HDFS has several, by what is wanted
        directory.fs.info(path.format(directory.root))
    with pytest.raises(OSError):  # noqa: PT011
        directory.fs.open(path.format(directory.root), "rb")


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_a_host_that_does_not_answer_is_named_and_the_task_is_tried_again(scheme: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        options = {"namenodes": [f"http://{address}"], "rpc": [address], "patience_seconds": 0.2, "password": "hidden"}
        directory = Directory.from_url(f"{scheme}:///x", options)
        for act in (directory.files, lambda: directory.read("y"), lambda: write(directory, "y", b"y")):
            with pytest.raises(TransferError, match=address) as caught:
                act()
            assert not is_terminal(caught.value)
            assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("hdfs:///x", {}, "names no NameNode"),
        ("hdfs://other/x", {"namenodes": ["http://nn1:9870"]}, "names the NameNode or nameservice 'other'"),
        ("hdfs://nn1/x", {"namenode": ["http://nn1:9870"]}, "no option 'namenode'; did you mean 'namenodes'"),
        ("hdfs://nn1/x", {"rpc": "nn1:8020"}, "'rpc' of an HDFS file system is a list"),
        ("hdfs://nn1:port/x", {}, "no host and port that can be read"),
    ],
)
def test_options_that_name_no_cluster_are_refused(url: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Directory.from_url(url, options)
