"""The fsspec file systems of the schemes ``hdfs`` and ``webhdfs``."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import logging
import os
import posixpath
import socket
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem

from airflow_dataflow.errors import InvalidInputError, UnsupportedError
from airflow_dataflow.storage.hdfs.client import Entry, HdfsClient
from airflow_dataflow.storage.hdfs.files import HdfsReader, HdfsWriter, rename
from airflow_dataflow.storage.hdfs.native import NativeHdfs, acts_as
from airflow_dataflow.storage.hdfs.options import HdfsConnection
from airflow_dataflow.storage.hdfs.webhdfs import WebHdfs

log = logging.getLogger(__name__)

_OF_FSSPEC = frozenset({"asynchronous", "batch_size", "dircache", "listings_expiry_time", "loop", "max_paths"})
_OF_FSSPEC |= {"skip_instance_cache", "use_listings_cache"}
_READ_AHEAD_BYTES = 1 << 20
_PROBE_SECONDS = 2.0


class HdfsFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """HDFS: the data goes through hdfs-native where that is installed, and through WebHDFS elsewhere.

    Its parameters are the fields of :class:`~airflow_dataflow.storage.hdfs.options.HdfsConnection`.
    """

    protocol: ClassVar[str] = "hdfs"
    root_marker = "/"
    cachable = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = {name: value for name, value in options.items() if name not in _OF_FSSPEC}
        self.options = HdfsConnection.make(own).complete(self.protocol)
        self._opening = threading.Lock()
        self._web: WebHdfs | None = None
        self._client: HdfsClient | None = None
        self._opened_by = os.getpid()

    # the ways to HDFS -------------------------------------------------------------------------

    @property
    def client(self) -> HdfsClient:
        """The way that the data takes."""
        with self._opening:
            self._forget_what_a_parent_opened()
            if self._client is None:
                self._client = self._native() or self._webhdfs()
            return self._client

    @property
    def web(self) -> WebHdfs:
        """WebHDFS, which knows of policies, checksums, quotas and snapshots.

        :raises MissingPackageError: when the package ``hdfs`` is not installed.
        """
        with self._opening:
            self._forget_what_a_parent_opened()
            return self._webhdfs()

    def _webhdfs(self) -> WebHdfs:
        if self._web is None:
            self._web = WebHdfs(self.options)
        return self._web

    def _native(self) -> NativeHdfs | None:
        if self.protocol != "hdfs" or self.options.rpc == () or importlib.util.find_spec("hdfs_native") is None:
            return None
        rpc = self.options.rpc
        if rpc is None:
            rpc = self._webhdfs().rpc_addresses()
            if not any(_listens(address) for address in rpc):
                log.info("%s: no NameNode takes Hadoop's own protocol from here; data goes through WebHDFS", self.hosts)
                return None
        if not acts_as(self.options.user):
            log.info("hdfs-native acts as another user in this process; what %s does takes WebHDFS", self.options.user)
            return None
        return NativeHdfs(dataclasses.replace(self.options, rpc=rpc))

    def _forget_what_a_parent_opened(self) -> None:
        if self._opened_by != os.getpid():
            self._web = self._client = None
            self._opened_by = os.getpid()

    @property
    def hosts(self) -> str:
        """The NameNodes, for messages."""
        return ", ".join(urlsplit(url).netloc for url in self.options.namenodes)

    # names ------------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        path = os.fspath(path)
        scheme, separator, rest = path.partition("://")
        if separator and scheme == cls.protocol:
            path = f"/{rest.partition('/')[2]}"
        return "/" + path.strip("/") if path.strip("/") else cls.root_marker

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL of a path."""
        return f"{self.protocol}://{self.options.authority(self.protocol)}{self._strip_protocol(name)}"

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        try:
            parts = urlsplit(path.partition("?")[0])
            found = {"host": parts.hostname, "port": parts.port}
        except ValueError as error:
            raise InvalidInputError(f"{path!r} has no host and port that can be read ({error})") from error
        return {name: value for name, value in found.items() if value}

    @property
    def fsid(self) -> str:
        """Name of the cluster and the way to it."""
        return f"{self.protocol}-{self.options.authority(self.protocol)}"

    # folders ----------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe a file or folder."""
        return described(self.client.info(self._strip_protocol(path)))

    def exists(self, path: str, **_: Any) -> bool:
        """Tell whether something is there; an error other than its absence is raised."""
        try:
            self.client.info(self._strip_protocol(path))
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List what lies right inside a folder; a file is its own list."""
        entries = sorted(self.client.children(self._strip_protocol(path)), key=lambda entry: entry.path)
        return [described(entry) if detail else entry.path for entry in entries]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> list[str] | dict[str, dict[str, Any]]:
        """List all files below a folder, and with ``withdirs`` the folders.

        :raises FileNotFoundError: when it is not there.
        """
        root = self._strip_protocol(path)
        depth = len(root.rstrip("/").split("/")) + (maxdepth or 0)
        found = {
            entry.path: described(entry)
            for entry in self.client.tree(root)
            if (withdirs or not entry.is_folder) and (maxdepth is None or len(entry.path.split("/")) <= depth)
        }
        if withdirs and root not in found:
            found[root] = self.info(root)
        ordered = {name: found[name] for name in sorted(found)}
        return ordered if detail else list(ordered)

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> Any:
        """List what a pattern matches; nothing when the folder of the pattern is not there."""
        try:
            return super().glob(path, maxdepth=maxdepth, **options)
        except FileNotFoundError:
            return {} if options.get("detail") else []

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a folder.

        :raises FileExistsError: when something is there.
        """
        path = self._strip_protocol(path)
        if self.exists(path):
            raise FileExistsError(f"{path} exists already")
        if not create_parents:
            self.client.info(posixpath.dirname(path))
        self.client.make_folder(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder with all folders above it."""
        if exist_ok:
            self.client.make_folder(self._strip_protocol(path))
        else:
            self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self.rm(path)

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        self.rm(path)

    def rm(self, path: str | Iterable[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and folders with all that is in them if ``recursive``; names are no patterns."""
        if maxdepth is not None:
            raise UnsupportedError("HDFS removes a folder as a whole, without a maxdepth")
        for item in [path] if isinstance(path, str) else path:
            name = self._strip_protocol(item)
            if not self.client.delete(name, recursive=recursive):
                raise FileNotFoundError(f"{name} is not there")

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Rename a file or folder; a file, or an empty folder, that is in its way is replaced."""
        source = self.client.info(self._strip_protocol(path1))
        rename(self.client, source, self._strip_protocol(path2), overwrite=True)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file: HDFS has no copy of its own, so the bytes pass through here."""
        with self.open(path1, "rb") as source, self.open(path2, "wb") as target:
            while data := source.read(8 * _READ_AHEAD_BYTES):
                target.write(data)

    def modified(self, path: str) -> datetime:
        """Return when a file was last written."""
        entry = self.client.info(self._strip_protocol(path))
        return datetime.fromtimestamp(entry.modified_milliseconds / 1000, UTC)

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Make an empty file; without ``truncate`` one that is there stays as it is."""
        if truncate or not self.exists(path):
            with self.open(path, "wb"):
                pass

    def invalidate_cache(self, path: str | None = None) -> None:
        """Do nothing: no listing is remembered."""

    # files ------------------------------------------------------------------------------------

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, autocommit: bool = True, **_: Any
    ) -> Any:
        path = self._strip_protocol(path)
        if mode == "rb":
            entry = self.client.info(path)
            if entry.is_folder:
                raise IsADirectoryError(f"{path} is a folder")
            # A buffer larger than what is asked for at a time would only be copied once more.
            ahead = min(block_size or _READ_AHEAD_BYTES, _READ_AHEAD_BYTES)
            return io.BufferedReader(HdfsReader(self.client, entry), ahead)
        if mode not in ("wb", "xb"):
            raise UnsupportedError(f"files on HDFS are written as a whole here, by 'wb' or 'xb', not {mode!r}")
        return self.writer(path, exclusive=mode == "xb", autocommit=autocommit)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return bytes of a file, from a stream of their own; fewer where it ends."""
        entry = self.client.info(path)
        wanted = max(0, min(length, entry.bytes - start))
        buffer = bytearray(wanted)
        with HdfsReader(self.client, entry) as reader:
            reader.seek(start)
            filled = 0
            while filled < wanted:
                filled += reader.readinto(memoryview(buffer)[filled:])
        return bytes(buffer)

    def writer(self, path: str, *, exclusive: bool, autocommit: bool) -> HdfsWriter:
        """Return a new file; unlike :meth:`open`, without a note of it in fsspec's transaction, which would keep it.

        :param exclusive: refuse to replace a file.
        :param autocommit: let it appear when it is closed, rather than when it is committed.
        """
        client, other = self.client, None
        if isinstance(client, NativeHdfs) and importlib.util.find_spec("hdfs") is not None:
            other = self.web
        return HdfsWriter(
            client,
            path,
            exclusive=exclusive,
            autocommit=autocommit,
            patience_seconds=self.options.patience,
            other_way=other,
        )


class WebHdfsFileSystem(HdfsFileSystem):
    """HDFS through WebHDFS alone."""

    protocol: ClassVar[str] = "webhdfs"


def described(entry: Entry) -> dict[str, Any]:
    """Return what fsspec tells of a file or folder."""
    return {
        "name": entry.path,
        "size": entry.bytes,
        "type": "directory" if entry.is_folder else "file",
        "mtime": entry.modified_milliseconds / 1000,
        # Time alone would not do: there are tools that copy a file together with its time.
        "etag": f"{entry.modified_milliseconds}-{entry.bytes}",
        "owner": entry.owner,
        "group": entry.group,
        "mode": entry.mode,
        "block_bytes": entry.block_bytes,
        "replication": entry.replication,
    }


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False
