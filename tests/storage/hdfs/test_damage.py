"""Bits that turn on their way to DataNodes and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.errors import TransferError
from airflow_dataflow.storage.checksums import checker
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import digest, write
from tests.services.damage import DamagingLink
from tests.storage.hdfs.clusters import MIB, SCHEMES, folder_on

pytestmark = pytest.mark.hdfs
MARK = b"a place to be hit"
DATA = (MARK * (3 * MIB // len(MARK) + 1))[: 3 * MIB]


@pytest.fixture(scope="module", params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    """Return each of the ways to HDFS."""
    return str(request.param)


@pytest.fixture(scope="module")
def link(hdfs_servers: HdfsCluster, scheme: str) -> Iterator[DamagingLink]:
    """Return a link in front of all DataNodes: at their ports, where they do not listen themselves."""
    name = "dfs.datanode.http.address" if scheme == "webhdfs" else "dfs.datanode.address"
    hdfs_servers.start()
    with ExitStack() as stack:
        link = stack.enter_context(DamagingLink())
        for number, service in enumerate(hdfs_servers._datanodes):
            before = service.command
            # The NameNode knows a DataNode by the address from which it came, and its port.
            port = int(next(word for word in before if word.startswith(f"{name}=")).rpartition(":")[2])
            hdfs_servers.kill_datanode(number)
            link.lead(("127.0.0.1", port), ("127.0.0.3", port))
            service.command = [word.replace(f"{name}=127.0.0.1", f"{name}=127.0.0.3") for word in before]
            hdfs_servers.start_datanode(number)
            stack.callback(setattr, service, "command", before)
        yield link
        for number in range(len(hdfs_servers._datanodes)):
            hdfs_servers.kill_datanode(number)


@pytest.fixture
def directory(hdfs_servers: HdfsCluster, link: DamagingLink, scheme: str) -> Directory:
    """Return a folder that does not exist yet, to which the link leads."""
    assert link.damaged >= 0
    return folder_on(hdfs_servers, scheme)


def test_a_flipped_bit_of_a_part_is_refused_or_sent_again(link: DamagingLink, directory: Directory) -> None:
    upload = directory.backend.begin_upload(directory.path("a/x"), size=len(DATA), part_bytes=MIB)
    tokens, before = [], link.damaged
    for number in range(3):
        part = DATA[number * MIB :][:MIB]
        if number == 1:
            link.damage(MARK)
        try:
            tokens.append(upload.put(number, part))
        except TransferError:
            tokens.append(upload.put(number, part))
    assert link.damaged == before + 1
    upload.publish(tokens)
    assert directory.digest("a/x") == digest(DATA)
    assert [path for path in directory.fs.find(directory.root) if path.endswith(".partial")] == []


def test_a_small_file_that_arrives_damaged_is_never_seen(link: DamagingLink, directory: Directory) -> None:
    before = link.damaged
    link.damage(MARK)
    try:
        directory.backend.put(directory.path("a/x"), DATA[:MIB])
    except TransferError:
        assert directory.files() == {}
        assert directory.fs.find(directory.root) == []
    else:
        assert directory.digest("a/x") == digest(DATA[:MIB])
    assert link.damaged == before + 1


def test_a_flipped_bit_of_what_is_read_is_found(link: DamagingLink, directory: Directory) -> None:
    write(directory, "x", DATA)
    before = link.damaged
    check = checker(directory.checksum("x"))
    link.damage(MARK)
    data = directory.backend.read_range(directory.path("x"), 0, len(DATA))
    assert link.damaged == before + 1
    if check is None:
        # Hadoop's own protocol carries checksums, so the block was read from another DataNode.
        assert data == DATA
    else:
        check.update(data)
        assert not check.matches()
