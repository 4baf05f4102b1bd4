"""Parts on HDFS: joined by the NameNode, damaged on the way, interrupted, refused."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.errors import SourceChangedError, TransferError
from airflow_dataflow.storage.checksums import checker
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.hdfs import parts as hdfs_parts
from airflow_dataflow.storage.hdfs.faults import HdfsServerError
from airflow_dataflow.testing.contents import digest, write
from airflow_dataflow.testing.parts import resume
from tests.storage.hdfs.clusters import MIB, SCHEMES, folder_on

pytestmark = pytest.mark.hdfs
both = pytest.mark.parametrize("scheme", SCHEMES)
PART_BYTES = MIB + MIB // 2
WHOLE = (bytes(range(251)) * (5 * MIB // 251 + 1))[: 5 * MIB]
PARTS = [WHOLE[start : start + PART_BYTES] for start in range(0, len(WHOLE), PART_BYTES)]


@pytest.fixture
def directory(hdfs_cluster: HdfsCluster, scheme: str) -> Directory:
    """Return a folder that does not exist yet."""
    return folder_on(hdfs_cluster, scheme)


def begun(directory: Directory, path: str = "a/x") -> Any:
    return directory.backend.begin_upload(directory.path(path), size=len(WHOLE), part_bytes=PART_BYTES)


def put_all(upload: Any) -> list[str]:
    return [upload.put(number, data) for number, data in enumerate(PARTS)]


def blocks(directory: Directory, path: str) -> list[int]:
    """Return the sizes of a file's blocks."""
    answer = directory.fs.web.call("GET", "GETFILEBLOCKLOCATIONS", directory.path(path)).json()
    return [block["length"] for block in answer["BlockLocations"]["BlockLocation"]]


def hidden(directory: Directory) -> list[str]:
    return [path for path in directory.fs.find(directory.root) if path.endswith(".partial")]


# joined by the NameNode ---------------------------------------------------------------------------


@both
def test_the_blocks_of_the_parts_become_those_of_the_file(directory: Directory) -> None:
    upload = begun(directory)
    upload.publish(put_all(upload))
    assert blocks(directory, "a/x") == [MIB, MIB // 2] * 3 + [MIB // 2]
    assert directory.digest("a/x") == digest(WHOLE)


@both
def test_many_parts_are_joined_by_several_requests(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdfs_parts, "_REQUEST_LETTERS", 1)
    upload = begun(directory)
    tokens = put_all(upload)
    call, asked = directory.fs.web.call, []

    def counted(method: str, operation: str, path: str, **params: Any) -> Any:
        asked.append(operation)
        return call(method, operation, path, **params)

    monkeypatch.setattr(directory.fs.web, "call", counted)
    upload.publish(tokens)
    assert asked.count("CONCAT") == 3
    assert directory.digest("a/x") == digest(WHOLE)


@both
@pytest.mark.parametrize("joined", [2, 3, 4])
def test_an_upload_that_was_killed_while_it_was_joined_goes_on(directory: Directory, joined: int) -> None:
    upload = begun(directory)
    tokens = put_all(upload)
    assert upload._concat(1, joined)
    resumed = resume(directory, "a/x", upload.handle)
    assert resumed is not None
    assert [resumed.read(number) for number in range(len(PARTS))] == PARTS
    resumed.publish(tokens)
    assert directory.digest("a/x") == digest(WHOLE)
    assert hidden(directory) == []


@both
def test_a_part_that_is_sent_again_after_it_was_joined_ends_the_upload(directory: Directory) -> None:
    upload = begun(directory)
    tokens = put_all(upload)
    assert upload._concat(1, 3)
    upload.put(2, PARTS[2])
    with pytest.raises(TransferError, match="has to be begun again"):
        upload.publish(tokens)
    assert directory.files() == {}
    assert hidden(directory) == []


@both
@pytest.mark.parametrize("lost", [0, 2])
def test_a_part_that_is_gone_ends_the_upload(directory: Directory, lost: int) -> None:
    upload = begun(directory)
    tokens = put_all(upload)
    directory.fs.rm(upload._part(lost))
    assert upload.read(lost) == b""
    with pytest.raises(TransferError, match="has to be begun again"):
        upload.publish(tokens)
    assert resume(directory, "a/x", upload.handle) is None
    assert directory.files() == {}


@both
def test_a_file_that_is_published_twice_is_published(directory: Directory) -> None:
    upload = begun(directory)
    tokens = put_all(upload)
    upload.publish(tokens)
    upload.publish(tokens, exclusive=True)
    assert directory.digest("a/x") == digest(WHOLE)


# where HDFS joins nothing -------------------------------------------------------------------------


@both
def test_parts_of_a_snapshot_are_copied_together(hdfs_cluster: HdfsCluster, directory: Directory) -> None:
    upload = begun(directory)
    tokens = put_all(upload)
    hdfs_cluster.admin("-allowSnapshot", directory.root)
    with directory.backend.snapshot(directory.root, "now"):
        assert not upload._concat(1, 2)
        upload.publish(tokens)
    assert blocks(directory, "a/x") == [MIB] * 5
    assert directory.digest("a/x") == digest(WHOLE)
    assert hidden(directory) == []


@both
def test_the_parts_of_a_name_with_a_comma_are_copied_together(directory: Directory) -> None:
    upload = begun(directory, "a,b/x")
    upload.publish(put_all(upload))
    assert directory.digest("a,b/x") == digest(WHOLE)
    assert hidden(directory) == []


@both
def test_a_part_that_is_not_as_it_was_sent_is_never_copied(directory: Directory) -> None:
    upload = begun(directory, "a,b/x")
    tokens = put_all(upload)
    write(Directory(directory.fs, directory.path("a,b")), upload._part(1).rpartition("/")[2], bytes(PART_BYTES))
    with pytest.raises(TransferError, match=r"part 1 of .* is not as it was written"):
        upload.publish(tokens)
    assert directory.files() == {}


# checksums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["webhdfs"])
@pytest.mark.parametrize("size", [1, 512, 513, MIB - 1, MIB, MIB + 1, 2 * MIB + 7, 3 * MIB, 5 * MIB])
def test_the_checksum_of_hdfs_tells_a_file_from_all_others(directory: Directory, size: int) -> None:
    data = WHOLE[:size]
    write(directory, "x", data)
    checksum = directory.checksum("x")
    others = [bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 128]), data[:-1], data + b"x", b""]
    assert fits(checksum, data)
    assert [fits(checksum, other) for other in others] == [False] * len(others)


@pytest.mark.parametrize("scheme", ["webhdfs"])
def test_the_checksum_of_a_file_in_parts_follows_its_blocks(directory: Directory) -> None:
    upload = begun(directory)
    upload.publish(put_all(upload))
    checksum = directory.checksum("a/x")
    assert checksum is not None
    assert checksum.endswith(f":1x{MIB}+1x{MIB // 2}+1x{MIB}+1x{MIB // 2}+1x{MIB}+2x{MIB // 2}")
    assert fits(checksum, WHOLE)
    assert not fits(checksum, WHOLE[:-1] + b"x")


def fits(checksum: str | None, data: bytes) -> bool:
    """Tell whether bytes that come in odd pieces have a checksum."""
    check = checker(checksum)
    assert check is not None
    for start in range(0, len(data), 333_333):
        check.update(memoryview(data)[start : start + 333_333])
    return check.matches()


@pytest.mark.parametrize(
    "checksum",
    ["NONE:00:1x1", "COMPOSITE-CRC32C:00000000", "MD5-of-0MD5-of-512CRC32C:0000", "MD5-of-0MD5-of-512CRC32C:xx:1x1"],
)
def test_a_checksum_of_another_kind_compares_nothing(checksum: str) -> None:
    assert checker(checksum) is None


@pytest.mark.parametrize("scheme", ["webhdfs"])
def test_what_hdfs_tells_no_checksum_of_is_read_back(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(operation: str, path: str, **_: Any) -> Any:
        if operation == "GETFILECHECKSUM":
            raise HdfsServerError("UnsupportedOperationException", f"no checksum of {path}")
        return fetch(operation, path, **_)

    fetch = directory.fs.web.fetch
    monkeypatch.setattr(directory.fs.web, "fetch", refuse)
    assert directory.backend.put(directory.path("x"), WHOLE)
    assert directory.digest("x") == digest(WHOLE)


# servers that die ---------------------------------------------------------------------------------


@both
def test_parts_outlive_a_datanode(hdfs_cluster: HdfsCluster, directory: Directory) -> None:
    upload = begun(directory)
    tokens = [upload.put(0, PARTS[0])]
    hdfs_cluster.kill_datanode(0)
    tokens += [upload.put(number, data) for number, data in enumerate(PARTS) if number]
    upload.publish(tokens)
    assert directory.digest("a/x") == digest(WHOLE)
    pin = directory.backend.stamp(directory.path("a/x"))
    assert directory.backend.read_range(directory.path("a/x"), MIB, MIB, pin=pin) == WHOLE[MIB : 2 * MIB]


@both
def test_parts_outlive_the_namenode(hdfs_ha: HdfsCluster, scheme: str) -> None:
    directory = folder_on(hdfs_ha, scheme)
    upload = begun(directory)
    tokens = [upload.put(0, PARTS[0])]
    active = hdfs_ha.active
    assert active is not None
    hdfs_ha.kill_namenode(active)
    rescue = threading.Thread(target=hdfs_ha.fail_over, args=(1 - active,))
    rescue.start()
    tokens += [upload.put(number, data) for number, data in enumerate(PARTS) if number]
    upload.publish(tokens)
    rescue.join()
    assert directory.digest("a/x") == digest(WHOLE)
    assert hidden(directory) == []


# others -------------------------------------------------------------------------------------------


@both
def test_a_long_upload_keeps_its_first_parts_while_it_goes_on(directory: Directory) -> None:
    upload = begun(directory)
    upload.put(0, PARTS[0])
    old = directory.fs.modified(upload._part(0))
    other = directory.path(f".{uuid.uuid4().hex}.partial")
    directory.fs.touch(other)
    between = directory.fs.modified(other)
    upload.put(1, PARTS[1])
    assert old < between < directory.fs.modified(upload._part(1))
    assert directory.remove_unfinished(directory.fs.modified(upload._part(1))) == [other]
    assert upload.read(0) == PARTS[0]


@both
def test_a_file_of_another_size_and_an_old_time_is_another_file(directory: Directory) -> None:
    write(directory, "x", b"first")
    path = directory.path("x")
    pin = directory.backend.stamp(path)
    time = round(directory.fs.info(path)["mtime"] * 1000)
    write(directory, "x", b"another")
    directory.fs.web.call("PUT", "SETTIMES", path, modificationtime=time)
    with pytest.raises(SourceChangedError, match="replaced"):
        directory.backend.check_pin(path, pin)
