"""Servers that die while files are written, read and listed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import digest, write
from tests.storage.hdfs.clusters import MIB, SCHEMES, folder_on

pytestmark = [pytest.mark.hdfs, pytest.mark.parametrize("scheme", SCHEMES)]

PIECES = [bytes([number]) * MIB for number in range(40)]
WHOLE = b"".join(PIECES)


def kill(cluster: HdfsCluster) -> threading.Thread:
    """Kill the active NameNode, and return what makes the other one active."""
    active = cluster.active
    assert active is not None
    cluster.kill_namenode(active)
    rescue = threading.Thread(target=cluster.fail_over, args=(1 - active,))
    rescue.start()
    return rescue


def written(directory: Directory, *, kill_at: int, kill: Callable[[], object]) -> None:
    """Write a file of 40 MiB, more than the writer keeps in memory, and kill something on the way."""
    with directory.create("a/big.bin") as writer:
        for number, piece in enumerate(PIECES):
            writer.write(piece)
            if number == kill_at:
                kill()


@pytest.mark.parametrize("kill_at", [2, 38])
def test_an_upload_goes_on_by_the_other_namenode(hdfs_ha: HdfsCluster, scheme: str, kill_at: int) -> None:
    directory = folder_on(hdfs_ha, scheme)
    write(directory, "other", b"x")
    rescues = []
    written(directory, kill_at=kill_at, kill=lambda: rescues.append(kill(hdfs_ha)))
    rescues[0].join()
    assert directory.digest("a/big.bin") == digest(WHOLE)
    assert directory.files() == {"a/big.bin": len(WHOLE), "other": 1}
    assert [path for path in directory.fs.find(directory.root) if "partial" in path] == []


def test_a_listing_goes_on_by_the_other_namenode(hdfs_ha: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_ha, scheme)
    expected = [f"{number // 4}/{number}" for number in range(12)]
    for path in expected:
        directory.fs.touch(directory.path(path))
    found = []
    entries = directory.fs.client.tree(directory.root)
    for number, entry in enumerate(entries):
        found.append(entry)
        if number == 1:
            rescue = kill(hdfs_ha)
    rescue.join()
    assert sorted(entry.path for entry in found if not entry.is_folder) == sorted(map(directory.path, expected))
    assert sorted(directory.files()) == sorted(expected)


def test_files_appear_and_vanish_while_the_namenodes_change(hdfs_ha: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_ha, scheme)
    write(directory, "old", b"old")
    rescue = kill(hdfs_ha)
    with directory.create("new", exclusive=True) as writer:
        writer.write(b"new")
    directory.remove("old")
    rescue.join()
    assert directory.files() == {"new": 3}
    with pytest.raises(FileExistsError), directory.create("new", exclusive=True) as writer:
        writer.write(b"newer")


def test_an_upload_goes_on_without_a_datanode(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    written(directory, kill_at=4, kill=lambda: hdfs_cluster.kill_datanode(0))
    assert directory.digest("a/big.bin") == digest(WHOLE)
    assert directory.files() == {"a/big.bin": len(WHOLE)}


def test_a_reader_goes_on_at_the_other_datanode(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_cluster, scheme)
    write(directory, "big.bin", WHOLE)
    pieces = []
    with directory.open("big.bin") as file:
        while piece := file.read(MIB):
            pieces.append(piece)
            if len(pieces) == 5:
                hdfs_cluster.kill_datanode(1)
    assert b"".join(pieces) == WHOLE
