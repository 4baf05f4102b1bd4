"""A real HDFS cluster on loopback: one NameNode or an HA pair, and DataNodes with DISK, SSD and ARCHIVE volumes."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from airflow_dataflow.demo.hadoop_files import Hadoop
from airflow_dataflow.demo.processes import Service, listens, reserve_port, wait_until
from airflow_dataflow.errors import InvalidInputError, JobFailedError

_NAMESERVICE = "dataflow"
_STORAGE_TYPES = ("DISK", "SSD", "ARCHIVE")
_START_SECONDS = 120.0
_ANSWER_SECONDS = 10.0
_PROXY = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"


@dataclass(frozen=True, kw_only=True)
class HdfsOptions:
    """What an HDFS cluster consists of."""

    namenodes: int = 1
    """1, or 2 for a pair of which one is active: the edits lie in a shared folder, and failover is by hand."""
    datanodes: int = 1
    """How many DataNodes hold the blocks; each has one volume per storage type."""
    replication: int = 0
    """Copies of each block that a client gets when it asks for no number; 0 means one per DataNode, but at most 3."""
    block_bytes: int = 128 * 1024 * 1024
    """Bytes of a block that a client gets when it asks for no size; also the smallest size allowed, where that is
    below Hadoop's own limit of 1 MiB. A multiple of 512."""
    permissions: bool = False
    """Whether owners and modes are enforced. Whoever runs the cluster is its superuser."""

    def __post_init__(self) -> None:
        if self.namenodes not in {1, 2}:
            raise InvalidInputError(f"a cluster has 1 or 2 NameNodes, not {self.namenodes}")
        if self.datanodes < 1:
            raise InvalidInputError(f"a cluster needs a DataNode; {self.datanodes} were asked for")
        if not 0 <= self.replication <= self.datanodes:
            raise InvalidInputError(f"{self.datanodes} DataNodes cannot hold {self.replication} copies of a block")


class HdfsCluster:
    """Servers of HDFS that listen on loopback only; a context manager that starts and always stops them.

    Its files stay in the folder: the next cluster there continues with them.

    :param folder: where its files, configuration and logs lie.
    :param options: what it consists of.
    :raises InvalidInputError: when Hadoop would misread the folder's path.
    :raises MissingPackageError: when Java or Hadoop cannot be had.
    """

    def __init__(self, folder: Path, options: HdfsOptions | None = None) -> None:
        self.folder = _check_folder(folder.absolute())
        self.options = options or HdfsOptions()
        # The machines of a pair differ by their address, as they do elsewhere: all of 127.0.0.0/8 is this machine.
        hosts = [f"127.0.0.{number + 1}" for number in range(self.options.namenodes)]
        rpc_port, web_port = reserve_port(hosts), reserve_port(hosts)
        self.rpc_addresses = [(host, rpc_port) for host in hosts]
        """Host and port of each NameNode for clients that speak HDFS's own protocol."""
        self.web_addresses = [(host, web_port) for host in hosts]
        """Host and port of each NameNode for WebHDFS."""
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._hadoop = Hadoop(folder / "conf", {**self.client_config, **self._server_properties()})
        self._namenodes = [self._namenode(number) for number in range(self.options.namenodes)]
        self._datanode_ports: list[int] = []
        self._datanodes = [self._datanode(number) for number in range(self.options.datanodes)]
        self._running: list[Service] = []
        self._keep_open: tuple[int, ...] = ()

    # what clients need ------------------------------------------------------------------------

    @property
    def rpc_url(self) -> str:
        """URL of the root, e.g. ``hdfs://127.0.0.1:8020``; a pair has the name of its nameservice there."""
        if self._is_pair:
            return f"hdfs://{_NAMESERVICE}"
        host, port = self.rpc_addresses[0]
        return f"hdfs://{host}:{port}"

    @property
    def client_config(self) -> dict[str, str]:
        """Properties that a client of Hadoop's protocol needs to find the NameNodes."""
        if not self._is_pair:
            return {"fs.defaultFS": self.rpc_url}
        names = [_identifier(number) for number in range(self.options.namenodes)]
        config = {
            "fs.defaultFS": self.rpc_url,
            "dfs.nameservices": _NAMESERVICE,
            f"dfs.ha.namenodes.{_NAMESERVICE}": ",".join(names),
            f"dfs.client.failover.proxy.provider.{_NAMESERVICE}": _PROXY,
        }
        for name, rpc, web in zip(names, self.rpc_addresses, self.web_addresses, strict=True):
            config[f"dfs.namenode.rpc-address.{_NAMESERVICE}.{name}"] = _joined(rpc)
            config[f"dfs.namenode.http-address.{_NAMESERVICE}.{name}"] = _joined(web)
        return config

    # start and stop ---------------------------------------------------------------------------

    def start(self, *, keep_open: Iterable[int] = ()) -> None:
        """Start all servers that do not run; return when files can be written.

        :param keep_open: file descriptors that the servers inherit.
        :raises JobFailedError: when one ends or is not ready in time; the message ends with its log.
        """
        self._keep_open = tuple(keep_open)
        try:
            self._format()
            for service in (*self._namenodes, *self._datanodes):
                if service not in self._running:
                    self._start(service)
            self._wait("answers", lambda: all(map(self._answers, range(self.options.namenodes))))
            if self.active is None:
                self.fail_over(0)
            self.wait_for_datanodes(self.options.datanodes)
            self._wait("has left safe mode", lambda: not self.in_safe_mode)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all servers."""
        for service in self._running:
            service.ask_to_stop()
        while self._running:
            self._running.pop().stop()

    def check(self) -> None:
        """Do nothing while all servers run that nobody has killed here.

        :raises JobFailedError: when one has ended, with the end of its log.
        """
        for service in self._running:
            service.check()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # parts that fail --------------------------------------------------------------------------

    def kill_namenode(self, number: int) -> None:
        """End a NameNode with SIGKILL."""
        self._kill(self._namenodes[number])

    def start_namenode(self, number: int) -> None:
        """Start a NameNode that was killed; return when it knows the DataNodes.

        One of a pair comes back as the standby.
        """
        self._start(self._namenodes[number])
        self._wait("answers", lambda: self._answers(number))
        self.wait_for_datanodes(sum(service in self._running for service in self._datanodes))
        if not self._is_pair:
            self._wait("has left safe mode", lambda: not self.in_safe_mode)

    def kill_datanode(self, number: int) -> None:
        """End a DataNode with SIGKILL. The NameNode sends clients there until it notices, some 15 seconds later."""
        self._kill(self._datanodes[number])

    def start_datanode(self, number: int) -> None:
        """Start a DataNode that was killed; return when it has registered."""
        self._start(self._datanodes[number])
        self.wait_for_datanodes(sum(service in self._running for service in self._datanodes))

    def wait_for_datanodes(self, count: int) -> None:
        """Wait until each running NameNode knows exactly ``count`` live DataNodes, and those that run here answer."""
        # A DataNode that comes back at once was never missed, so the count alone tells nothing of it.
        running = zip(self._datanodes, self._datanode_ports, strict=True)
        ports = [port for service, port in running if service in self._running]
        self._wait("has DataNodes that answer", lambda: all(listens("127.0.0.1", port) for port in ports))
        self._wait(f"has {count} live DataNodes", lambda: all(live == count for live in self._live_datanodes()))

    def fail_over(self, to: int) -> None:
        """Make a NameNode of a pair the active one; the other may be dead."""
        for number in range(self.options.namenodes):
            if number != to and self._namenodes[number] in self._running:
                self._hadoop.run("hdfs.tools.DFSHAAdmin", "-transitionToStandby", _identifier(number))
        self._hadoop.run("hdfs.tools.DFSHAAdmin", "-transitionToActive", "--forceactive", _identifier(to))

    @property
    def user(self) -> str:
        """Name of the superuser: whoever runs this, since Hadoop believes its clients who they are."""
        return os.environ.get("HADOOP_USER_NAME") or pwd.getpwuid(os.geteuid()).pw_name

    @property
    def active(self) -> int | None:
        """Number of the active NameNode; ``None`` when there is none."""
        states = [self._bean(number, "NameNodeStatus").get("State") for number in range(self.options.namenodes)]
        return states.index("active") if "active" in states else None

    # administration ---------------------------------------------------------------------------

    def enter_safe_mode(self) -> None:
        """Let the NameNodes refuse every change."""
        self.admin("-safemode", "enter")

    def leave_safe_mode(self) -> None:
        """Let the NameNodes accept changes again."""
        self.admin("-safemode", "leave")

    @property
    def in_safe_mode(self) -> bool:
        """Whether the active NameNode refuses changes; true, too, when there is none."""
        active = self.active
        return active is None or self._bean(active, "FSNamesystemState").get("FSState") != "Operational"

    def admin(self, *arguments: str) -> str:
        """Run ``hdfs dfsadmin``, e.g. with ``"-allowSnapshot", "/data"``, and return what it prints.

        :raises JobFailedError: when it fails, with its output.
        """
        return self._hadoop.run("hdfs.tools.DFSAdmin", *arguments)

    def fsck(self, path: str) -> str:
        """Return what ``hdfs fsck`` says of a file or folder: its blocks, where they lie and on which storage type."""
        return self._hadoop.run("hdfs.tools.DFSck", path, "-files", "-blocks", "-locations")

    def move(self, path: str) -> None:
        """Run the Mover: it brings the blocks below a path to the storage types that their policies ask for.

        :raises JobFailedError: when it leaves blocks where they are, with its output.
        """
        self._hadoop.run("hdfs.server.mover.Mover", "-p", path)

    @contextmanager
    def satisfier(self) -> Iterator[None]:
        """Run the storage policy satisfier, which moves what clients ask the NameNode to satisfy.

        The Mover refuses to run beside it.
        """
        service = self._service("satisfier", "hdfs.server.sps.ExternalStoragePolicySatisfier", (), heap="128m")
        self._start(service)
        try:
            yield
            service.check()
        finally:
            self._running.remove(service)
            service.stop()

    # inside -----------------------------------------------------------------------------------

    @property
    def _is_pair(self) -> bool:
        return self.options.namenodes > 1

    def _server_properties(self) -> dict[str, str]:
        options = self.options
        properties = {
            "dfs.replication": str(options.replication or min(options.datanodes, 3)),
            "dfs.blocksize": str(options.block_bytes),
            "dfs.namenode.fs-limits.min-block-size": str(min(options.block_bytes, 1024 * 1024)),
            "dfs.permissions.enabled": str(options.permissions).lower(),
            "dfs.storage.policy.satisfier.mode": "external",
            # Safe mode lasts until the NameNode knows where every block is; the default rounds one of few blocks away.
            "dfs.namenode.safemode.threshold-pct": "1.0",
            "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.datanode.du.reserved": "0",
            # A dead DataNode is noticed within 15 seconds, not within 10 minutes; the Mover waits for seconds, too.
            "dfs.heartbeat.interval": "1",
            "dfs.namenode.heartbeat.recheck-interval": "2000",
            "dfs.namenode.redundancy.interval.seconds": "1",
        }
        if not self._is_pair:
            return properties | {"dfs.namenode.http-address": _joined(self.web_addresses[0])}
        return properties | {
            "dfs.namenode.shared.edits.dir": (self.folder / "shared-edits").as_uri(),
            "dfs.ha.fencing.methods": "shell(/bin/true)",
            "dfs.ha.tail-edits.period": "1",
        }

    def _namenode(self, number: int) -> Service:
        return self._service(
            f"namenode-{number}", "hdfs.server.namenode.NameNode", self._own_properties(number), heap="256m"
        )

    def _own_properties(self, number: int) -> list[str]:
        """Return the properties of one NameNode as arguments."""
        folder = (self.folder / f"namenode-{number}").as_uri()
        identity = ["-D", f"dfs.ha.namenode.id={_identifier(number)}"] if self._is_pair else []
        return ["-D", f"dfs.namenode.name.dir={folder}", *identity]

    def _datanode(self, number: int) -> Service:
        folder = self.folder / f"datanode-{number}"
        volumes = [f"[{kind}]{(folder / kind.lower()).as_uri()}" for kind in _STORAGE_TYPES]
        arguments = ["-D", f"dfs.datanode.data.dir={','.join(volumes)}"]
        ports = {purpose: reserve_port() for purpose in ("", "ipc.", "http.")}
        for purpose, port in ports.items():
            arguments += ["-D", f"dfs.datanode.{purpose}address=127.0.0.1:{port}"]
        self._datanode_ports.append(ports["http."])
        return self._service(f"datanode-{number}", "hdfs.server.datanode.DataNode", arguments, heap="192m")

    def _service(self, name: str, main: str, arguments: Sequence[str], *, heap: str) -> Service:
        command = self._hadoop.command(main, *arguments, heap=heap)
        return Service(name, command, self.logs / f"{name}.log", program=self._hadoop.java)

    def _start(self, service: Service) -> None:
        service.start(os.environ, keep_open=self._keep_open)
        self._running.append(service)

    def _kill(self, service: Service) -> None:
        self._running.remove(service)
        service.kill()

    def _format(self) -> None:
        """Make empty file systems on disk, unless an earlier cluster has left its own."""
        if (self.folder / "namenode-0" / "current" / "VERSION").exists():
            return
        self._hadoop.run("hdfs.server.namenode.NameNode", *self._own_properties(0), "-format", "-force")
        if self._is_pair:
            shutil.copytree(self.folder / "namenode-0", self.folder / "namenode-1")

    def _bean(self, number: int, name: str) -> dict[str, Any]:
        """Return what a NameNode says of itself; nothing while it does not answer."""
        if self._namenodes[number] not in self._running:
            return {}
        url = f"http://{_joined(self.web_addresses[number])}/jmx"
        query = {"qry": f"Hadoop:service=NameNode,name={name}"}
        try:
            answer = httpx.get(url, params=query, timeout=_ANSWER_SECONDS, trust_env=False)
        except httpx.TransportError:
            return {}
        beans = answer.json()["beans"] if answer.status_code == httpx.codes.OK else []
        return dict(beans[0]) if beans else {}

    def _answers(self, number: int) -> bool:
        """Tell whether a NameNode takes requests of Hadoop's protocol."""
        return listens(*self.rpc_addresses[number]) and "State" in self._bean(number, "NameNodeStatus")

    def _live_datanodes(self) -> list[int | None]:
        running = [number for number, service in enumerate(self._namenodes) if service in self._running]
        return [self._bean(number, "FSNamesystemState").get("NumLiveDataNodes") for number in running]

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        def met() -> bool:
            self.check()
            return condition()

        if not wait_until(met, _START_SECONDS):
            tails = "\n".join(service.tail() for service in self._running)
            raise JobFailedError(f"HDFS: not true after {_START_SECONDS:.0f} seconds that it {what}\n{tails}")


def _check_folder(folder: Path) -> Path:
    """Return the folder when Hadoop reads its URI, and a list of such URIs, as it is meant."""
    if folder.as_uri() != f"file://{folder}" or "," in str(folder):
        raise InvalidInputError(
            f"HDFS cannot keep its files in {str(folder)!r}: Hadoop misreads paths with characters other than "
            "ASCII letters, digits, '-', '_' and '.'; choose another folder"
        )
    return folder


def _identifier(number: int) -> str:
    return f"namenode{number}"


def _joined(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
