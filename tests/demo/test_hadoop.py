"""The HDFS cluster of the demo and the tests is a real one, whose parts fail and come back."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster, HdfsOptions
from airflow_dataflow.demo.processes import session_members
from airflow_dataflow.errors import InvalidInputError, JobFailedError

pytestmark = pytest.mark.hdfs


class Web:
    """WebHDFS of one NameNode."""

    def __init__(self, cluster: HdfsCluster, number: int = 0, user: str | None = None) -> None:
        host, port = cluster.web_addresses[number]
        self.root = f"http://{host}:{port}/webhdfs/v1"
        self.user = user or cluster.user

    def call(self, method: str, path: str, operation: str, **parameters: str) -> httpx.Response:
        query = {"op": operation, "user.name": self.user, **parameters}
        return httpx.request(method, self.root + path, params=query, timeout=60, trust_env=False)

    def write(self, path: str, content: bytes) -> None:
        where = self.call("PUT", path, "CREATE", overwrite="true").headers["location"]
        httpx.put(where, content=content, timeout=60, trust_env=False).raise_for_status()

    def read(self, path: str) -> bytes:
        answer = self.call("GET", path, "OPEN")
        if answer.has_redirect_location:
            answer = httpx.get(answer.headers["location"], timeout=60, trust_env=False)
        if "EOFException" in answer.text:
            # A DataNode finds out by a request that its connection to a NameNode that was killed is dead.
            return self.read(path)
        assert answer.is_success, answer.text
        return answer.content


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"namenodes": 3}, "1 or 2 NameNodes, not 3"),
        ({"datanodes": 0}, "needs a DataNode; 0"),
        ({"datanodes": 2, "replication": 3}, "2 DataNodes cannot hold 3 copies"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        HdfsOptions(**wrong)


@pytest.mark.parametrize("name", ["a home", "hundred%", "one,two", "Zuhause-für-Daten"])
def test_a_folder_whose_path_hadoop_misreads_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"HDFS cannot keep its files in .*choose another folder"):
        HdfsCluster(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_the_mover_brings_blocks_to_the_storage_type_of_their_policy(hdfs_cluster: HdfsCluster) -> None:
    web = Web(hdfs_cluster)
    web.write("/policies/file", b"x" * 100_000)
    assert hdfs_cluster.fsck("/policies/file").count("DISK]") == 2
    web.call("PUT", "/policies/file", "SETSTORAGEPOLICY", storagepolicy="COLD").raise_for_status()
    hdfs_cluster.move("/policies")
    assert hdfs_cluster.fsck("/policies/file").count("ARCHIVE]") == 2


def test_the_satisfier_moves_blocks_when_a_client_asks_for_it(hdfs_cluster: HdfsCluster) -> None:
    web = Web(hdfs_cluster)
    web.write("/satisfied", b"x")
    web.call("PUT", "/satisfied", "SETSTORAGEPOLICY", storagepolicy="ALL_SSD").raise_for_status()
    deadline = time.monotonic() + 60
    with hdfs_cluster.satisfier():
        web.call("PUT", "/satisfied", "SATISFYSTORAGEPOLICY").raise_for_status()
        while hdfs_cluster.fsck("/satisfied").count("SSD]") < 2:
            assert time.monotonic() < deadline, "the blocks stay where they are"


def test_permissions_hold_for_everybody_but_the_superuser(hdfs_cluster: HdfsCluster) -> None:
    Web(hdfs_cluster).write("/private/file", b"x")
    Web(hdfs_cluster).call("PUT", "/private", "SETPERMISSION", permission="700").raise_for_status()
    answer = Web(hdfs_cluster, user="somebody").call("GET", "/private/file", "OPEN")
    assert answer.status_code == 403
    assert "Permission denied" in answer.text


def test_files_outlive_a_namenode_and_a_datanode_that_are_killed(hdfs_cluster: HdfsCluster) -> None:
    web = Web(hdfs_cluster)
    web.write("/lives", b"on")
    hdfs_cluster.kill_datanode(1)
    hdfs_cluster.kill_namenode(0)
    hdfs_cluster.start_namenode(0)
    assert web.read("/lives") == b"on"
    hdfs_cluster.start_datanode(1)


def test_nothing_changes_in_safe_mode(hdfs_cluster: HdfsCluster) -> None:
    hdfs_cluster.enter_safe_mode()
    assert hdfs_cluster.in_safe_mode
    answer = Web(hdfs_cluster).call("PUT", "/folder", "MKDIRS")
    assert "SafeModeException" in answer.text
    hdfs_cluster.leave_safe_mode()
    Web(hdfs_cluster).call("PUT", "/folder", "MKDIRS").raise_for_status()


def test_a_tool_that_fails_says_why(hdfs_cluster: HdfsCluster) -> None:
    with pytest.raises(JobFailedError, match=r"'DFSAdmin -allowSnapshot /absent' .*Directory does not exist"):
        hdfs_cluster.admin("-allowSnapshot", "/absent")


def test_the_standby_takes_over_with_all_files_and_hands_back(hdfs_ha: HdfsCluster) -> None:
    active = hdfs_ha.active
    assert active is not None
    other = 1 - active
    Web(hdfs_ha, active).write("/before", b"the failover")
    assert "StandbyException" in Web(hdfs_ha, other).call("GET", "/before", "OPEN").text
    hdfs_ha.kill_namenode(active)
    hdfs_ha.fail_over(other)
    assert Web(hdfs_ha, other).read("/before") == b"the failover"
    hdfs_ha.start_namenode(active)
    assert hdfs_ha.active == other
    hdfs_ha.fail_over(active)
    assert hdfs_ha.active == active


def test_the_servers_end_with_a_process_that_is_killed(hdfs_servers: HdfsCluster, tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from airflow_dataflow.demo.hadoop import HdfsCluster

        with HdfsCluster(Path(sys.argv[1])) as cluster:
            print(*[service.pid for service in cluster._running], flush=True)
            time.sleep(300)
    """)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    sessions = [int(word) for word in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    assert len(sessions) == 2
    while any(map(session_members, sessions)):
        assert time.monotonic() < deadline, "a server has outlived the process that started it"
        time.sleep(0.05)
