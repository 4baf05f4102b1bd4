"""HDFS: a hidden file that is renamed when it is whole, storage policies, checksums that the DataNodes keep.

There are no locks. A lease would be one, but it outlives a killed holder by a minute, and WebHDFS gives none to its
clients. So concurrent writers of one version write the same bytes, as they do on S3.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from airflow_dataflow.errors import (
    AccessDeniedError,
    BusyError,
    DataflowError,
    InvalidInputError,
    StorageFullError,
    TransferError,
    TransientError,
    did_you_mean,
)
from airflow_dataflow.storage.backends import Backend
from airflow_dataflow.storage.backends.local import is_partial
from airflow_dataflow.storage.hdfs.checksums import checksum_with_blocks
from airflow_dataflow.storage.hdfs.client import Entry
from airflow_dataflow.storage.hdfs.faults import (
    FileHeldError,
    HdfsServerError,
    SafeModeError,
    UnreachableError,
    UntrustedError,
)
from airflow_dataflow.storage.hdfs.filesystem import HdfsFileSystem, described
from airflow_dataflow.storage.hdfs.parts import HdfsUpload, group_of, part_bytes_of, put_whole
from airflow_dataflow.storage.parts import Parts

_NO_POLICY, _HOT = 0, 7
_USUAL_REPLICATION = 3
_WRONG_NAMES = frozenset({"IllegalArgumentException", "InvalidPathException", "HadoopIllegalArgumentException"})
_CANNOT = frozenset({"UnsupportedActionException", "UnsupportedOperationException", "IllegalArgumentException"})


class HdfsBackend(Backend):
    """A cluster behind ``hdfs`` or ``webhdfs``."""

    storage_classes = ("HOT", "WARM", "COLD", "ALL_SSD", "ONE_SSD")
    """The policies that every cluster has; others that the NameNode knows can be set, too."""
    small_files_at_once = 16
    """Each file waits up to half a second for its last block to be counted, with nothing to do meanwhile."""
    fs: HdfsFileSystem

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:  # noqa: ARG002 - nothing depends on it
        return self.fs.writer(path, exclusive=exclusive, autocommit=False)

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:  # noqa: ARG002 - the file knows both
        file.close()
        file.commit()

    # files at once and in parts ---------------------------------------------------------------

    def put(self, path: str, data: bytes | memoryview) -> str | bool:
        """Write a small file; it is visible when HDFS has proved that it arrived unharmed."""
        return self.stamp_in(described(put_whole(self.fs, path, data))) or True

    def read_range(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of a file, in one stream from DataNodes, of which another goes on where one dies."""
        try:
            data = self.fs.read_range(path, start, length)
        except OSError:
            self.check_pin(path, pin)
            raise
        self.check_pin(path, pin)
        return data

    def part_bytes(self, size: int) -> int:
        """Return 32 MiB, or 64 MiB for files of more than 8 GiB."""
        return part_bytes_of(size)

    def begin_upload(self, path: str, *, size: int, part_bytes: int) -> HdfsUpload:
        """Begin a file whose parts are files of their own until the NameNode joins them."""
        return HdfsUpload.begin(self.fs, path, Parts(size, part_bytes))

    def resume_upload(self, path: str, handle: str) -> HdfsUpload | None:
        """Return the upload whose parts another process has written; ``None`` when none of them is there."""
        return HdfsUpload.resume(self.fs, path, handle)

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:
        """Remove the hidden files that killed writers began; the NameNode takes their leases back by itself."""
        limit = before.timestamp() * 1000
        found: dict[str, list[Entry]] = {}
        try:
            for entry in self.fs.client.tree(root):
                name = posixpath.basename(entry.path)
                if is_partial(name) and not entry.is_folder:
                    found.setdefault(group_of(name), []).append(entry)
        except FileNotFoundError:
            return []
        # The first parts of a long upload are old, and wanted.
        groups = [group for group in found.values() if max(entry.modified_milliseconds for entry in group) < limit]
        left = [entry.path for group in groups for entry in group]
        return [path for path in left if self.fs.client.delete(path, recursive=False)]

    def checksum(self, path: str) -> str:
        """Return the checksum that HDFS keeps of a file, without reading it: equal bytes in equal blocks have one.

        Where nothing else checks what is read, it comes with what is needed to make it again from the bytes.

        :raises FileNotFoundError: when it is not there.
        """
        checksum = self.fs.web.checksum(path)
        if self.fs.client.checks_bytes:
            return checksum
        try:
            return checksum_with_blocks(checksum, self.fs.web.blocks(path))
        except HdfsServerError:
            # Gateways and old NameNodes do not tell of blocks.
            return checksum

    # space ------------------------------------------------------------------------------------

    def free_bytes(self, path: str) -> int | None:
        """Return how much may still be written: what the tightest quota and the DataNodes leave, copies deducted."""
        left = [quota - used for quota, used in self._quotas(path)]
        remaining = self.fs.web.bean("FSNamesystemState").get("CapacityRemaining")
        left += [] if remaining is None else [int(remaining)]
        return max(0, min(left)) // self._replication() if left else None

    def capacity_bytes(self, path: str) -> int | None:
        """Return the tightest quota, or the size of the cluster, copies deducted."""
        sizes = [quota for quota, _ in self._quotas(path)]
        total = self.fs.web.bean("FSNamesystemState").get("CapacityTotal")
        sizes += [] if total is None else [int(total)]
        return min(sizes) // self._replication() if sizes else None

    def _quotas(self, path: str) -> Iterator[tuple[int, int]]:
        """Yield the space quota and what is used of it, of the folder and each one above it that has a quota."""
        while path not in ("", "/"):
            try:
                usage = self.fs.web.call("GET", "GETQUOTAUSAGE", path).json()["QuotaUsage"]
            except FileNotFoundError:
                pass
            else:
                if int(usage["spaceQuota"]) >= 0:
                    yield int(usage["spaceQuota"]), int(usage["spaceConsumed"])
            path = posixpath.dirname(path)

    def _replication(self) -> int:
        try:
            return int(self._defaults()["replication"])
        except HdfsServerError:
            return _USUAL_REPLICATION

    def _defaults(self) -> dict[str, Any]:
        return dict(self.fs.web.call("GET", "GETSERVERDEFAULTS", "/").json()["FsServerDefaults"])

    # storage policies -------------------------------------------------------------------------

    def storage_class(self, path: str) -> str | None:
        """Return the storage policy that holds for a file or folder."""
        answer = self.fs.web.call("GET", "GETSTORAGEPOLICY", path).json()
        return str(answer["BlockStoragePolicy"]["name"])

    def set_storage_class(self, path: str, name: str) -> int:
        """Give a file, or a folder with all in it, a storage policy; new files in the folder get it, too.

        The blocks stay where they are until :meth:`satisfy`, or the cluster's Mover, brings them to their places.
        """
        wanted = self._policy(name)
        before = list(self._policies(path))
        if any(policy != wanted for _, _, policy in before):
            self.fs.web.call("PUT", "SETSTORAGEPOLICY", path, storagepolicy=name)
            # What had a policy of its own does not follow the folder.
            for own in [below for below, _, policy in self._policies(path) if policy != wanted]:
                self.fs.web.call("PUT", "SETSTORAGEPOLICY", own, storagepolicy=name)
        return sum(policy != wanted for _, is_folder, policy in before if not is_folder)

    def satisfy(self, path: str) -> bool:
        """Ask the NameNode to move blocks to where their policies want them.

        :returns: whether it does so; ``False`` on a cluster without a storage policy satisfier, where an administrator
            runs the Mover.
        """
        try:
            self.fs.web.call("PUT", "SATISFYSTORAGEPOLICY", path)
        except HdfsServerError as error:
            if error.kind in _CANNOT:
                return False
            # It keeps a note of what it was asked for until it has done it.
            if "already called" not in str(error) and "hdfs.sps already exists" not in str(error):
                raise
        return True

    def _policy(self, name: str) -> int:
        answer = self.fs.web.call("GET", "GETALLSTORAGEPOLICY", "/").json()
        known = {item["name"]: int(item["id"]) for item in answer["BlockStoragePolicies"]["BlockStoragePolicy"]}
        if name not in known:
            raise InvalidInputError(f"no storage policy named {name!r} on {self.fs.hosts}{did_you_mean(name, known)}")
        return known[name]

    def _policies(self, path: str) -> Iterator[tuple[str, bool, int]]:
        """Yield path, whether it is a folder, and number of the policy that holds, for ``path`` and all below it."""
        web = self.fs.web
        usual = self._usual_policy()
        top = web.call("GET", "GETFILESTATUS", path).json()["FileStatus"]
        todo = [(path, top)]
        while todo:
            here, status = todo.pop()
            is_folder = status["type"] == "DIRECTORY"
            yield here, is_folder, int(status["storagePolicy"]) or usual
            if is_folder:
                todo += [(f"{here.rstrip('/')}/{item['pathSuffix']}", item) for item in web.statuses(here)]

    def _usual_policy(self) -> int:
        try:
            return int(self._defaults().get("defaultStoragePolicyId", _HOT))
        except HdfsServerError:
            return _HOT

    # snapshots --------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self, path: str, name: str) -> Iterator[str]:
        """Keep a folder as it is now while the block runs; an administrator has to have allowed snapshots of it."""
        self._delete_snapshot(path, name)
        try:
            answer = self.fs.web.call("PUT", "CREATESNAPSHOT", path, snapshotname=name)
        except HdfsServerError as error:
            if error.kind != "SnapshotException":
                raise
            raise InvalidInputError(
                f"no snapshot of {path}: {error.strerror}; an administrator allows it by 'hdfs dfsadmin -allowSnapshot'"
            ) from error
        try:
            yield str(answer.json()["Path"])
        finally:
            self._delete_snapshot(path, name)

    def _delete_snapshot(self, path: str, name: str) -> None:
        try:
            self.fs.web.call("DELETE", "DELETESNAPSHOT", path, snapshotname=name)
        except HdfsServerError as error:
            # There is none of that name, or none at all: making one says why.
            if error.kind != "SnapshotException":
                raise

    # errors -----------------------------------------------------------------------------------

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Tell a NameNode in safe mode, one that is gone, a full cluster and a refused user from each other."""
        known = self._explain_own(error, what, path)
        if known is not None or not _is_about(error, path):
            return known
        if isinstance(error, PermissionError):
            who = self.fs.options.user or "this process's user"
            return AccessDeniedError(
                f"HDFS refuses {what} at {path} to {who} ({error.strerror}): let that user in, or name another login"
            )
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFullError(
                f"no space left on HDFS while writing {what} to {path} ({error.strerror}): "
                "delete something, raise the quota, or add DataNodes"
            )
        return None

    def _explain_own(self, error: Exception, what: str, path: str) -> DataflowError | None:
        hosts = self.fs.hosts
        if isinstance(error, SafeModeError):
            return TransientError(
                f"the NameNode is in safe mode and refuses {what} ({error.strerror}): it leaves it when enough "
                f"DataNodes have come, or by 'hdfs dfsadmin -safemode leave' ({hosts})"
            )
        if isinstance(error, UnreachableError):
            return TransferError(f"{what} at {path}: {error} (NameNodes tried: {hosts})")
        if isinstance(error, UntrustedError):
            return AccessDeniedError(f"{error}: let the connection's extra 'verify' name the authorities to trust")
        if isinstance(error, FileHeldError):
            return BusyError(f"another client writes {what} at {path} ({error})")
        if isinstance(error, HdfsServerError):
            kind = InvalidInputError if error.kind in _WRONG_NAMES else TransferError
            return kind(f"HDFS refuses {what} at {path}: {error.strerror}")
        return None


def _is_about(error: Exception, path: str) -> bool:
    """Tell whether an error is one of this file or of the folders above it, and did not only pass through a block."""
    named = str(getattr(error, "filename", None) or "")
    folder = posixpath.dirname(path)
    return posixpath.dirname(named) == folder or named == folder or path.startswith(f"{named.rstrip('/')}/")


FILE_SYSTEM = HdfsFileSystem
BACKEND = HdfsBackend
