"""A real Ceph Object Gateway on loopback: a monitor, an OSD in memory and ``radosgw``, from Debian packages.

It is the second implementation of S3 that the tests run against: other than moto it checks signatures and digests, runs
lifecycle rules, and knows nothing of some of Amazon's newer headers.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.demo.debian import unpacked
from tests.services.packages import skip_without_packages

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")
STORAGE_CLASSES = ("STANDARD_IA", "GLACIER")
LIFECYCLE_DAY_SECONDS = 10
_DEADLINE_SECONDS = 120
# The kernel ends a server when the tests are killed; the setting survives exec.
_LEASH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{ports[0]}/0,v1:127.0.0.1:{ports[1]}/0]
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
paxos propose interval = 0.05
paxos min wait = 0.01
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd crush chooseleaf type = 0
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon max pg per osd = 500
mon data avail crit = 1
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
log file = {folder}/$name.log
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
plugin dir = {root}/usr/lib/{triplet}/ceph
erasure code dir = {root}/usr/lib/{triplet}/ceph/erasure-code
osd class dir = {root}/usr/lib/{triplet}/rados-classes
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{ports[2]}
rgw data = {folder}/rgw
rgw lc debug interval = {day}
"""


@dataclass(frozen=True)
class CephS3:
    """A running gateway."""

    url: str
    """Its endpoint."""
    key: str
    """Access key of a user who may do everything in buckets of his own."""
    secret: str
    """That user's secret key."""
    other_key: str
    """Access key of another user, to whom the first one's buckets are closed, and who has a quota of 1 MiB."""
    other_secret: str
    """The other user's secret key."""

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec needs to open ``s3://…`` URLs here."""
        client = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return {"key": self.key, "secret": self.secret, "client_kwargs": client}


@pytest.fixture(scope="session")
def ceph_s3() -> Iterator[CephS3]:
    """Return a Ceph Object Gateway with the storage classes STANDARD, STANDARD_IA and GLACIER."""
    with skip_without_packages():
        unpacked("ceph", PACKAGES, dependencies=True)
    # Sockets lie in it, whose paths must be short.
    with (
        tempfile.TemporaryDirectory(prefix="ceph-", ignore_cleanup_errors=True) as folder,
        running(Path(folder)) as ceph,
    ):
        yield ceph


@pytest.fixture(scope="session")
def _ceph_client(ceph_s3: CephS3) -> Iterator[Any]:
    """Return a client of the gateway's first user; making one takes longer than most tests."""
    import boto3

    keys = {"aws_access_key_id": ceph_s3.key, "aws_secret_access_key": ceph_s3.secret}
    client = boto3.client("s3", endpoint_url=ceph_s3.url, region_name="us-east-1", **keys)
    yield client
    client.close()


@pytest.fixture
def ceph_bucket(_ceph_client: Any) -> str:
    """Return the name of an empty bucket of the gateway's first user."""
    name = f"bucket-{uuid.uuid4().hex}"
    _ceph_client.create_bucket(Bucket=name)
    return name


class _Cluster:
    """One cluster's configuration, and the commands that know of it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.fsid = str(uuid.uuid4())
        self.ports = _free_ports(3)
        triplet = f"{os.uname().machine}-linux-gnu"
        for name in ("mon", "osd", "rgw", "run"):
            (folder / name).mkdir()
        self._configuration = folder / "ceph.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                fsid=self.fsid, ports=self.ports, folder=folder, root=root, triplet=triplet, day=LIFECYCLE_DAY_SECONDS
            )
        )
        libraries = [root / "usr/lib" / triplet, root / "usr/lib" / triplet / "ceph", root / "lib" / triplet]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "CEPH_CONF": str(self._configuration),
        }

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of one of Ceph's programs."""
        return [str(self.root / "usr/bin" / name), "-c", str(self._configuration), *arguments]

    def run(self, name: str, *arguments: str) -> None:
        """Run a program to its end."""
        command = self.command(name, *arguments)
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=_DEADLINE_SECONDS
        )
        if done.returncode:
            pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")

    def admin(self, *arguments: str) -> None:
        """Run ``radosgw-admin``."""
        self.run("radosgw-admin", "-n", "client.rgw", *arguments)

    @contextmanager
    def server(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a server until the block ends."""
        command = [sys.executable, "-c", _LEASH, *self.command(name, "-f", *arguments)]
        with (self.folder / f"{name}.out").open("wb") as output:
            process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            # There is nothing to save: all that it holds is in memory, or in a folder that goes.
            process.kill()
            process.wait(30)


@contextmanager
def running(folder: Path) -> Iterator[CephS3]:
    """Run a gateway whose files lie in an empty folder, until the block ends."""
    cluster = _Cluster(unpacked("ceph", PACKAGES, dependencies=True), folder)
    monitors = f"[v2:127.0.0.1:{cluster.ports[0]},v1:127.0.0.1:{cluster.ports[1]}]"
    files = [str(cluster.folder / name) for name in ("monmap", "osdmap")]
    cluster.run("monmaptool", "--create", "--addv", "a", monitors, "--fsid", cluster.fsid, files[0])
    # The first map of the cluster knows its only OSD, so nobody has to tell the monitor of it.
    cluster.run("osdmaptool", "--createsimple", "1", files[1])
    cluster.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", files[0], "--osdmap", files[1])
    with ExitStack() as servers:
        monitor = servers.enter_context(cluster.server("ceph-mon", "-i", "a"))
        _wait_for(functools.partial(_listens, cluster.ports[0]), monitor, cluster)
        cluster.run("ceph-osd", "-i", "0", "--mkfs")
        servers.enter_context(cluster.server("ceph-osd", "-i", "0"))
        people = [("tests", secrets.token_hex(10), secrets.token_hex(20)) for _ in range(2)]
        gateway = CephS3(f"http://127.0.0.1:{cluster.ports[2]}", *people[0][1:], *people[1][1:])
        for number, (name, key, secret) in enumerate(people):
            user = ["--uid", f"{name}{number}", "--display-name", name, "--access-key", key, "--secret-key", secret]
            cluster.admin("user", "create", *user)
        cluster.admin("quota", "set", "--quota-scope", "user", "--uid", "tests1", "--max-size", str(1 << 20))
        cluster.admin("quota", "enable", "--quota-scope", "user", "--uid", "tests1")
        for name in STORAGE_CLASSES:
            place = ["--placement-id", "default-placement", "--storage-class", name]
            cluster.admin("zonegroup", "placement", "add", "--rgw-zonegroup", "default", *place)
            cluster.admin(
                "zone", "placement", "add", "--rgw-zone", "default", *place, "--data-pool", "default.rgw.cold"
            )
        front = servers.enter_context(cluster.server("radosgw", "-n", "client.rgw"))
        _wait_for(functools.partial(_listens, cluster.ports[2]), front, cluster)
        yield gateway


def _wait_for(ready: Callable[[], bool], server: subprocess.Popen[bytes], cluster: _Cluster) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not ready():
        if server.poll() is not None or time.monotonic() > deadline:
            said = "".join(path.read_text(errors="replace")[-2000:] for path in cluster.folder.glob("*.out"))
            pytest.fail(f"Ceph did not start:\n{said}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
