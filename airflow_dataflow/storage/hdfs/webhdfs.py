"""The way through WebHDFS: HTTP to the NameNode, which names the DataNode to talk to."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.storage.hdfs.client import Entry
from airflow_dataflow.storage.hdfs.faults import (
    DataNodeError,
    HdfsServerError,
    StandbyError,
    UnreachableError,
    UntrustedError,
)
from airflow_dataflow.storage.hdfs.web_answers import address_of, checked, host_of, hostname_of, location_of, text_of

if TYPE_CHECKING:
    from requests import Response

    from airflow_dataflow.storage.hdfs.options import HdfsConnection

_CONNECT_SECONDS, _ANSWER_SECONDS = 10.0, 120.0
_CONNECTIONS = 32
_QUEUED_PIECES = 4
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_REDIRECT = 307
_DEAD_SECONDS = 60.0
_DATANODES_ASKED = 4


class WebHdfs:
    """WebHDFS of a cluster; each request finds the active NameNode by itself.

    :param options: complete options of the cluster.
    :raises MissingPackageError: when the package ``hdfs`` is not installed.
    """

    checks_bytes: ClassVar[bool] = False

    def __init__(self, options: HdfsConnection) -> None:
        self.options = options
        self._urls = list(options.namenodes)
        self._client = _hdfscli(options)
        self._first = 0
        self._dead: dict[str, float] = {}

    # requests ---------------------------------------------------------------------------------

    def call(self, method: str, operation: str, path: str, *, stream: bool = False, **params: str | int) -> Response:
        """Send a request to the active NameNode, and wait for one to become active.

        :param method: HTTP's method.
        :param operation: WebHDFS's operation, e.g. ``LISTSTATUS``.
        :param path: absolute path.
        :param stream: leave the body for the caller to read.
        :returns: the answer; it may be the one that names a DataNode to ask.
        :raises UnreachableError: when no NameNode answers as the active one in time.
        """
        local = address_of(path)
        query = {"op": operation, **params}
        return self.ask(
            lambda base: self._send(method, base + local, params=query, allow_redirects=False, stream=stream), path
        )

    def ask(self, request: Callable[[str], Response], path: str) -> Response:
        """Send a request to one NameNode after the other, until one does not refer to another or time is up."""
        pause, deadline = _FIRST_PAUSE_SECONDS, time.monotonic() + self.options.patience
        while True:
            first = self._first
            for turn in range(len(self._urls)):
                number = (first + turn) % len(self._urls)
                try:
                    answer = checked(request(self._urls[number]), path)
                except UnreachableError as error:
                    last = error
                else:
                    self._first = number
                    return answer
            if time.monotonic() + pause > deadline:
                none = "is active" if isinstance(last, StandbyError) else "answers"
                raise type(last)(f"none of the NameNodes {', '.join(self._urls)} {none}: {text_of(last)}") from last
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _send(self, method: str, url: str, **request: Any) -> Response:
        from requests import exceptions

        try:
            return cast("Response", self._client._request(method, url, **request))  # noqa: SLF001 - its one door
        except exceptions.SSLError as error:
            raise UntrustedError(f"no trusted TLS connection to {host_of(url)}: {text_of(error)}") from error
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            raise UnreachableError(f"{host_of(url)}: {text_of(error)}") from error

    # DataNodes --------------------------------------------------------------------------------

    def locate(self, method: str, operation: str, path: str, *, stream: bool = False, **params: str | int) -> Response:
        """Send a request that a DataNode has to answer; return the answer that names one, none of the dead ones."""
        dead = self._dead_datanodes()
        if not dead:
            return self.call(method, operation, path, stream=stream, **params)
        try:
            return self.call(method, operation, path, stream=stream, **params, excludedatanodes=",".join(dead))
        except HdfsServerError:
            # Nobody else has it: perhaps one of them is back.
            self._dead.clear()
            return self.call(method, operation, path, stream=stream, **params)

    def fetch(self, operation: str, path: str, **params: str | int) -> Response:
        """Return a DataNode's answer to a question, its body unread; another one is asked where one does not answer."""
        for left in reversed(range(_DATANODES_ASKED)):
            answer = self.locate("GET", operation, path, **params, stream=True)
            if answer.status_code != _REDIRECT:
                return answer
            answer.close()
            try:
                return self._at_datanode("GET", location_of(answer, path), path, stream=True)
            except DataNodeError:
                if not left:
                    raise
        raise AssertionError

    def _at_datanode(self, method: str, url: str, path: str, **request: Any) -> Response:
        try:
            return checked(self._send(method, url, **request), path)
        except UnreachableError as error:
            self._dead[host_of(url)] = time.monotonic()
            raise DataNodeError(f"DataNode {error}") from error

    def _dead_datanodes(self) -> list[str]:
        """Return the addresses, for transfers, of DataNodes that lately did not answer."""
        limit = time.monotonic() - _DEAD_SECONDS
        self._dead = {address: when for address, when in self._dead.copy().items() if when > limit}
        if not self._dead:
            return []
        live = self.bean("NameNodeInfo").get("LiveNodes")
        if live is None:
            return [address.rpartition(":")[0] for address in self._dead]
        # The rest are known to be dead: the NameNode names them to nobody.
        return [
            str(node["xferaddr"])
            for node in json.loads(live).values()
            if self._dead.keys() & {node.get("infoAddr"), node.get("infoSecureAddr")}
        ]

    # names ------------------------------------------------------------------------------------

    def info(self, path: str) -> Entry:
        """Describe a file or folder."""
        try:
            return _entry(path, self.call("GET", "GETFILESTATUS", path).json()["FileStatus"])
        except NotADirectoryError as error:
            # Below a file there is nothing, and there are servers that say so in these words.
            raise FileNotFoundError(*error.args) from error

    def children(self, path: str) -> list[Entry]:
        """Describe what lies right inside a folder; a file is its own list."""
        return [_entry(_inside(path, status), status) for status in self.statuses(path)]

    def statuses(self, path: str) -> list[dict[str, Any]]:
        """Return WebHDFS's descriptions of what lies right inside a folder; a file is its own list."""
        answer = self.call("GET", "LISTSTATUS", path).json()
        return list(answer["FileStatuses"]["FileStatus"])

    def tree(self, path: str) -> Iterator[Entry]:
        """Describe all that lies below a folder, folders too; a file is its own tree."""
        todo = [path]
        while todo:
            here = todo.pop()
            try:
                entries = self.children(here)
            except FileNotFoundError:
                if here == path:
                    raise
                continue
            yield from entries
            todo += [entry.path for entry in entries if entry.is_folder]

    def make_folder(self, path: str) -> None:
        """Make a folder with all folders above it; one that is there is no error."""
        self.call("PUT", "MKDIRS", path)

    def rename(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename, and replace a file only if ``overwrite``."""
        options = "OVERWRITE" if overwrite else "NONE"
        answer = self.call("PUT", "RENAME", source, destination=target, renameoptions=options)
        # Gateways that do not know the option answer with a truth value, and false where something is in the way.
        if answer.content and not answer.json().get("boolean", True):
            self.info(source)
            raise FileExistsError(f"{target} exists already")

    def delete(self, path: str, *, recursive: bool) -> bool:
        """Delete, and return whether there was something."""
        answer = self.call("DELETE", "DELETE", path, recursive=str(recursive).lower())
        return bool(answer.json()["boolean"])

    # bytes ------------------------------------------------------------------------------------

    def create(self, path: str) -> WebSink:
        """Begin a file, in place of one that is there."""
        answer = self.locate("PUT", "CREATE", path, overwrite="true")
        return WebSink(lambda pieces: self._upload("PUT", location_of(answer, path), pieces, path))

    def append(self, path: str) -> WebSink:
        """Go on with a file that nobody writes."""
        answer = self.locate("POST", "APPEND", path)
        return WebSink(lambda pieces: self._upload("POST", location_of(answer, path), pieces, path))

    def _upload(self, method: str, url: str, pieces: Iterator[bytes], path: str) -> None:
        self._at_datanode(method, url, path, data=pieces)

    def recover(self, path: str) -> int | None:
        """Append nothing: that ends a writing whose client has been silent for a minute, and tells if it has ended."""
        answer = self.locate("POST", "APPEND", path)
        self._upload("POST", location_of(answer, path), iter(()), path)
        return self.info(path).bytes

    def read(self, path: str, start: int, length: int) -> _WebSource:
        """Read a part that lies inside a file."""
        return _WebSource(self.fetch("OPEN", path, offset=start, length=length))

    def checksum(self, path: str) -> str:
        """Return the checksum that HDFS keeps of a file, with the name of its algorithm."""
        told = self.fetch("GETFILECHECKSUM", path).json()["FileChecksum"]
        return f"{told['algorithm']}:{told['bytes'][: 2 * int(told['length'])]}"

    def blocks(self, path: str) -> list[int]:
        """Return the sizes of a file's blocks."""
        told = self.call("GET", "GETFILEBLOCKLOCATIONS", path).json()["BlockLocations"]
        return [int(block["length"]) for block in told["BlockLocation"]]

    # the NameNodes themselves -----------------------------------------------------------------

    def bean(self, name: str, url: str | None = None) -> dict[str, Any]:
        """Return what a NameNode measures of itself, such as ``FSNamesystemState``; nothing where it does not tell.

        :param url: the NameNode's; the active one's when ``None``.
        """
        query = {"qry": f"Hadoop:service=NameNode,name={name}"}

        def request(base: str) -> Response:
            return self._send("GET", f"{base}/jmx", params=query)

        with suppress(ValueError, KeyError, IndexError, OSError):
            if url is not None:
                return dict(checked(request(url), "/jmx").json()["beans"][0])
            self.call("GET", "GETFILESTATUS", "/")
            return dict(checked(request(self._urls[self._first]), "/jmx").json()["beans"][0])
        return {}

    def rpc_addresses(self) -> tuple[str, ...]:
        """Return the address of Hadoop's protocol of each NameNode; empty where none tells."""
        found: dict[str, str] = {}
        for url in self._urls:
            answer = str(self.bean("NameNodeStatus", url).get("HostAndPort", ""))
            if answer:
                found[url] = answer.rpartition(":")[2]
        # One that is down listens, when it is back, where its twin listens. Its own idea of its name may be a private
        # one; the name by which WebHDFS reached it is good for us.
        ports = set(found.values())
        return tuple(f"{hostname_of(url)}:{found.get(url, min(ports))}" for url in self._urls) if ports else ()


class WebSink:
    """A file that a thread of its own sends, since an upload is one request and its pieces come one by one.

    :param send: sends what an iterator gives, and raises what goes wrong.
    """

    def __init__(self, send: Callable[[Iterator[bytes]], None]) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED_PIECES)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(send,), name="webhdfs-upload", daemon=True)
        self._thread.start()

    def _run(self, send: Callable[[Iterator[bytes]], None]) -> None:
        try:
            send(self._pieces())
        except Exception as error:  # noqa: BLE001 - the writer raises it
            self._error = error

    def _pieces(self) -> Iterator[bytes]:
        while (piece := self._queue.get()) is not None:
            yield piece

    def write(self, data: bytes) -> None:
        """Hand bytes to the thread; an error may tell of earlier ones."""
        while data:
            if not self._thread.is_alive():
                self.close()
                raise UnreachableError("the upload ended before its last byte")
            with suppress(queue.Full):
                self._queue.put(data, timeout=1)
                return

    def close(self) -> None:
        """Return when all bytes are safe."""
        self._end()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """End the request: one that broke off could make its file after that was removed."""
        self._end()

    def _end(self) -> None:
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=1)
                break
        self._thread.join()


class _WebSource:
    """The body of an answer."""

    def __init__(self, answer: Response) -> None:
        self._answer = answer

    def readinto(self, buffer: memoryview) -> int:
        from urllib3.exceptions import HTTPError

        try:
            data = self._answer.raw.read(len(buffer))
        except HTTPError as error:
            raise UnreachableError(f"{host_of(self._answer.url)}: {text_of(error)}") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._answer.close()


def _hdfscli(options: HdfsConnection) -> Any:
    """Return HdfsCLI's client: it authenticates, and carries the session."""
    try:
        from hdfs import InsecureClient
        from requests import Session
        from requests.adapters import HTTPAdapter
    except ImportError as error:
        raise MissingPackageError(
            f"HDFS needs a package that is not installed ({error}): pip install 'airflow-dataflow[hdfs]'"
        ) from error
    session = Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    session.verify = options.verify
    if options.cert:
        session.cert = (options.cert, options.key) if options.key else options.cert
    if options.password is not None:
        session.auth = (options.user or "", options.password)
    session.headers.update(options.headers)
    session.cookies.update(options.cookies)
    url, timeout = ";".join(options.namenodes), (_CONNECT_SECONDS, _ANSWER_SECONDS)
    if not options.kerberos:
        return InsecureClient(url, user=options.user, session=session, timeout=timeout)
    from hdfs.ext.kerberos import KerberosClient

    return KerberosClient(url, session=session, timeout=timeout)


def _entry(path: str, status: dict[str, Any]) -> Entry:
    return Entry(
        path=path,
        bytes=int(status["length"]),
        is_folder=status["type"] == "DIRECTORY",
        modified_milliseconds=int(status["modificationTime"]),
        owner=str(status["owner"]),
        group=str(status["group"]),
        mode=int(status["permission"], 8),
        block_bytes=int(status["blockSize"]),
        replication=int(status["replication"]),
    )


def _inside(path: str, status: dict[str, Any]) -> str:
    return f"{path.rstrip('/')}/{status['pathSuffix']}" if status["pathSuffix"] else path
