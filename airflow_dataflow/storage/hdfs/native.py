"""The way through Hadoop's own protocol, spoken by hdfs-native: straight to the DataNodes, checksums verified."""

from __future__ import annotations

import ctypes
import getpass
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from airflow_dataflow.storage.hdfs.client import Entry
from airflow_dataflow.storage.hdfs.faults import HdfsServerError, UnreachableError, fault

if TYPE_CHECKING:
    from airflow_dataflow.storage.hdfs.options import HdfsConnection

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_USER_VARIABLE = "HADOOP_USER_NAME"
_CLUSTER = "cluster"
_RPC_ERROR = re.compile(r'(?:Fatal)?RPCError\("((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\)', re.DOTALL)
_FIRST_PAUSE_MILLISECONDS, _LONGEST_PAUSE_MILLISECONDS = 100, 2000
_DISCONNECTED = "RPC listener disconnected"
_until_an_answer = Retrying(
    retry=retry_if_exception(lambda error: _DISCONNECTED in str(error)), stop=stop_after_attempt(4), reraise=True
)
_claim = threading.Lock()
_claimed: list[str] = []
_clients: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_held: list[Any] = []


class NativeHdfs:
    """Hadoop's protocol; each request finds the active NameNode by itself.

    :param options: complete options of the cluster, with the addresses for this protocol.
    """

    checks_bytes: ClassVar[bool] = True

    def __init__(self, options: HdfsConnection) -> None:
        from hdfs_native import Client

        self.options = options
        addresses = {f"nn{number}": address for number, address in enumerate(options.rpc or ())}
        config = {f"dfs.namenode.rpc-address.{_CLUSTER}.{name}": address for name, address in addresses.items()}
        config[f"dfs.ha.namenodes.{_CLUSTER}"] = ",".join(addresses)
        config |= _patience(options.patience)
        if options.kerberos:
            config["hadoop.security.authentication"] = "kerberos"
        # An empty folder of configuration: what this machine has of another cluster must not mix with the options.
        self._client = Client(f"hdfs://{_CLUSTER}", config)
        _clients[id(self._client)] = self._client

    def info(self, path: str) -> Entry:
        """Describe a file or folder."""
        return _entry(self._asked(path, lambda: self._client.get_file_info(path)))

    def children(self, path: str) -> list[Entry]:
        """Describe what lies right inside a folder; a file is its own list."""
        return self._asked(path, lambda: [_entry(status) for status in self._client.list_status(path)])

    def tree(self, path: str) -> Iterator[Entry]:
        """Describe all that lies below a folder, folders too; a file is its own tree."""
        with self._faults(path):
            for status in self._client.list_status(path, recursive=True):
                yield _entry(status)

    def make_folder(self, path: str) -> None:
        """Make a folder with all folders above it; one that is there is no error."""
        self._asked(path, lambda: self._client.mkdirs(path, create_parent=True))

    def rename(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename, and replace a file only if ``overwrite``."""
        with self._faults(source):
            self._client.rename(source, target, overwrite)

    def delete(self, path: str, *, recursive: bool) -> bool:
        """Delete, and return whether there was something."""
        with self._faults(path):
            return self._client.delete(path, recursive)

    def create(self, path: str) -> NativeSink:
        """Begin a file, in place of one that is there."""
        from hdfs_native import WriteOptions

        with self._faults(path):
            file = self._client.create(path, WriteOptions(overwrite=True, create_parent=True))
        return NativeSink(self, file, path)

    def append(self, path: str) -> NativeSink:
        """Go on with a file that nobody writes."""
        with self._faults(path):
            return NativeSink(self, self._client.append(path), path)

    def recover(self, path: str) -> int | None:
        """End the writing of a client that is gone, and return the size of what it has left; ``None``: not yet."""
        with self._faults(path):
            return self._client.get_file_info(path).length if self._client.recover_lease(path) else None

    def read(self, path: str, start: int, length: int) -> _NativeSource:
        """Read a part that lies inside a file."""
        with self._faults(path):
            return _NativeSource(self, self._client.read(path).read_range_stream(start, length), path)

    def _asked(self, path: str, request: Callable[[], Result]) -> Result:
        """Make a request that may be made twice: when a NameNode dies before it answers, the next one is asked."""
        with self._faults(path):
            return _until_an_answer(request)

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            translated = translate(error, path, ", ".join(self.options.rpc or ()))
            if translated is error:
                raise
            raise translated from error


class NativeSink:
    """A file that hdfs-native writes."""

    def __init__(self, owner: NativeHdfs, file: Any, path: str) -> None:
        self._owner = owner
        self._file = file
        self._path = path

    def write(self, data: bytes) -> None:
        """Send bytes; an error may tell of earlier ones."""
        with self._owner._faults(self._path):  # noqa: SLF001 - of one family
            self._file.write(data)

    def close(self) -> None:
        """Return when all bytes are safe."""
        with self._owner._faults(self._path):  # noqa: SLF001 - of one family
            self._file.close()

    def abort(self) -> None:
        """Let go of the file: its own end would try to close it, and wait for what is not there any more."""
        self._file.close = _nothing
        self._file.inner = None


class _NativeSource:
    """A stream of pieces of hdfs-native."""

    def __init__(self, owner: NativeHdfs, pieces: Iterator[bytes], path: str) -> None:
        self._owner = owner
        self._pieces = pieces
        self._path = path
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            if not self._rest:
                with self._owner._faults(self._path):  # noqa: SLF001 - of one family
                    self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    break
            taken = min(len(self._rest), len(buffer) - filled)
            buffer[filled : filled + taken] = self._rest[:taken]
            self._rest = self._rest[taken:]
            filled += taken
        return filled

    def close(self) -> None:
        self._pieces = iter(())
        self._rest = memoryview(b"")


def acts_as(user: str | None) -> bool:
    """Let hdfs-native act as ``user`` in this process, and tell whether it does.

    It takes the name from the environment, at each new connection: so all of a process has to be one user, the first
    that asks.
    """
    with _claim:
        own = os.environ.get(_USER_VARIABLE) or getpass.getuser()
        wanted = user or own
        if not _claimed:
            _claimed.append(wanted)
            if wanted != own:
                os.environ[_USER_VARIABLE] = wanted
        return _claimed[0] == wanted


def translate(error: Exception, path: str, hosts: str) -> Exception:
    """Return the error of Python or of :mod:`airflow_dataflow.storage.hdfs.faults` that hdfs-native's error means."""
    text = str(error)
    if isinstance(error, OSError):
        return _translate_os_error(error, path, hosts)
    if not isinstance(error, RuntimeError):
        return error
    answer = _RPC_ERROR.search(text)
    if answer is not None:
        return fault(answer[1], answer[2].replace("\\n", "\n"), path)
    kind = text.partition("(")[0].strip() or "RuntimeError"
    if kind in ("SASLError", "GSSAPIError", "NoSASLMechanism"):
        return fault("AuthenticationException", f"the NameNode does not know who we are: {text}", path)
    return HdfsServerError(kind, text)


def _translate_os_error(error: OSError, path: str, hosts: str) -> OSError:
    text = str(error)
    if type(error) is OSError:
        return UnreachableError(f"no connection to the NameNodes or DataNodes of {hosts}: {text}")
    if isinstance(error, FileExistsError):
        is_held = "lease" in text or "being created" in text
        return fault("AlreadyBeingCreatedException" if is_held else "FileAlreadyExistsException", text, path)
    return fault("FileNotFoundException", text, path) if isinstance(error, FileNotFoundError) else error


def _patience(seconds: float) -> dict[str, str]:
    """Return the settings that let a request look for an active NameNode that long, with growing pauses."""
    attempts, waited, pause = 1, 0.0, float(_FIRST_PAUSE_MILLISECONDS)
    while waited < 1000 * seconds:
        waited += pause
        pause = min(2 * pause, _LONGEST_PAUSE_MILLISECONDS)
        attempts += 1
    return {
        "dfs.client.failover.max.attempts": str(attempts),
        "dfs.client.failover.sleep.base.millis": str(_FIRST_PAUSE_MILLISECONDS),
        "dfs.client.failover.sleep.max.millis": str(_LONGEST_PAUSE_MILLISECONDS),
    }


def _entry(status: Any) -> Entry:
    return Entry(
        path=status.path,
        bytes=status.length,
        is_folder=status.isdir,
        modified_milliseconds=status.modification_time,
        owner=status.owner,
        group=status.group,
        mode=status.permission,
        block_bytes=status.blocksize or 0,
        replication=status.replication or 0,
    )


def _nothing() -> None:
    """Do nothing."""


def _hold_clients() -> None:
    _held.extend(client for client in (reference() for reference in _clients.valuerefs()) if client is not None)


def _keep_clients_for_ever() -> None:
    """Let no client of the parent end in a forked process: it would wait for threads that are not there."""
    for client in _held:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))
    _held.clear()


os.register_at_fork(before=_hold_clients, after_in_parent=_held.clear, after_in_child=_keep_clients_for_ever)
