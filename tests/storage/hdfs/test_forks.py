"""Processes that fork after they have spoken with HDFS, as Airflow's executors and the launcher of Spark do."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest

from airflow_dataflow.demo.hadoop import HdfsCluster
from tests.storage.hdfs.clusters import SCHEMES, options_of

FORKING = """
import gc, json, os, sys
from airflow_dataflow.storage.directory import Directory

def write(name):
    with directory.create(name) as file:
        file.write(name.encode())

directory = Directory.from_url(sys.argv[1], json.loads(sys.argv[2]))
write("parent")
child = os.fork()
gc.collect()
if child == 0:
    assert directory.read("parent") == b"parent"
    write("child")
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert sorted(directory.files()) == ["child", "parent"]
"""


@pytest.mark.hdfs
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_forked_process_and_its_parent_go_on(hdfs_cluster: HdfsCluster, scheme: str) -> None:
    url, options = f"{scheme}:///{uuid.uuid4().hex}", json.dumps(options_of(hdfs_cluster))
    # In a process of its own: threads of other tests would hold locks that nobody lets go in the child.
    subprocess.run([sys.executable, "-c", FORKING, url, options], check=True, timeout=60)
