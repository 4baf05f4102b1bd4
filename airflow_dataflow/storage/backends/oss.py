"""Aliyun OSS: an upload is visible when it is complete, conditional writes keep the first.

OSS honours the condition (``x-oss-forbid-overwrite``) in buckets without versioning only; where a bucket keeps old
versions of objects, the last of two writers at the same moment wins, as in stores without such conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import oss2
from oss2.models import RestoreConfiguration, RestoreJobParameters

from airflow_dataflow.errors import AccessDeniedError, DataflowError, InvalidInputError, NotFoundError, TransferError
from airflow_dataflow.storage.backends import ArchiveState, Backend
from airflow_dataflow.storage.backends import _oss_parts as oss_parts
from airflow_dataflow.storage.backends._oss_files import MOST_KEYS, PART_BYTES, OssFiles
from airflow_dataflow.storage.backends._oss_parts import EXISTS, OssUpload
from airflow_dataflow.storage.parts import Parts

_ARCHIVES = ("Archive", "ColdArchive", "DeepColdArchive")
_WITH_SPEED = ("ColdArchive", "DeepColdArchive")
_MOST_PARTS = 10_000
_REQUESTS_AT_ONCE = 8
_DENIED = (401, 403)
_BUSY = ("OperationAborted", "RequestTimeout", "QpsLimitExceeded", "TotalQpsLimitExceeded", "DownloadTrafficRateLimit")
_TOO_MANY, _SERVERS_FAULT = 429, 500


class OssBackend(Backend):
    """Buckets of Aliyun OSS. There are no locks: concurrent writers of one version write the same bytes."""

    has_folders = False
    copies_inside = True
    small_files_at_once = 16
    storage_classes = ("Standard", "IA", *_ARCHIVES)

    _new_files: Mapping[str, str] = {}
    """Headers of requests that make a file."""

    # writing ----------------------------------------------------------------------------------

    def write_as(self, storage_class: str) -> None:
        """Give new files and copies a storage class that can be read at once."""
        self._check_storage_class(storage_class)
        if storage_class in _ARCHIVES:
            raise InvalidInputError(
                f"files of the class {storage_class!r} cannot be read back to verify them: write them as 'IA', and "
                "archive them afterwards by SetStoragePolicyOperator or a rule of the bucket"
            )
        self._new_files = {"x-oss-storage-class": storage_class}

    def copy(self, source: str, target: str) -> None:
        """Copy on the server's side, a large file in parts."""
        self.fs.cp_file(source, target, headers=self._new_files)

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:
        size = max(PART_BYTES, -(-expected_bytes // (_MOST_PARTS - 1)))
        # fs.open would keep the file, and what it holds in memory, for the end of a transaction.
        return self.fs._open(  # noqa: SLF001
            path, "xb" if exclusive else "wb", size, autocommit=False, headers=self._new_files
        )

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:
        try:
            if file.offset is None:
                # Nothing was sent yet: one request instead of the three that a multipart upload takes.
                mode = "create" if exclusive else "overwrite"
                self.fs.pipe_file(path, file.buffer.getvalue(), mode=mode, headers=self._new_files)
                file.closed = True
            else:
                file.close()
                file.commit()
        except oss2.exceptions.OssError as error:
            if exclusive and error.code in EXISTS:
                raise FileExistsError(f"{path} exists already") from error
            raise

    def put(self, path: str, data: bytes | memoryview) -> str | bool:
        """Write a small object by one request; its ETag proves that it arrived, unless OSS encrypts it."""
        etag = oss_parts.put(self.fs, path, data, self._new_files)
        return False if etag is None else f'etag:"{etag}"'

    def part_bytes(self, size: int) -> int:
        """Return 16 MiB, or more where there would be too many parts."""
        return oss_parts.part_bytes(size)

    def begin_upload(self, path: str, *, size: int, part_bytes: int) -> OssUpload:
        """Begin an upload of parts."""
        return OssUpload.begin(self.fs, path, Parts(size, part_bytes), self._new_files)

    def resume_upload(self, path: str, handle: str) -> OssUpload | None:
        """Return an upload that OSS still has."""
        return OssUpload.resume(self.fs, path, handle)

    def make_folder(self, path: str) -> None:
        """Do nothing: there are no folders, and a bucket that is missing is an error rather than a wish."""

    def remove_all(self, path: str) -> None:
        """Delete every key below ``path``, a thousand to a request."""
        bucket, _ = self.fs.split_path(path)
        keys = [self.fs.split_path(name)[1] for name in self.fs.find(path)]
        for start in range(0, len(keys), MOST_KEYS):
            self.fs.bucket(bucket).batch_delete_objects(keys[start : start + MOST_KEYS])

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:
        """Abort the uploads below ``root`` that got no part since ``before``; their parts cost money until then."""
        bucket, key = self.fs.split_path(root)
        client = self.fs.bucket(bucket)
        removed = []
        for upload in oss2.MultipartUploadIterator(client, prefix=f"{key}/" if key else ""):
            parts = oss2.PartIterator(client, upload.key, upload.upload_id)
            newest = max([upload.initiation_date, *(part.last_modified for part in parts)])
            if datetime.fromtimestamp(newest, UTC) < before:
                client.abort_multipart_upload(upload.key, upload.upload_id)
                removed.append(f"{bucket}/{upload.key}")
        return removed

    # what the store knows of a file -----------------------------------------------------------

    def read_range(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of an object on the condition that its ETag is that of ``pin``."""
        etag = None if pin is None else pin.removeprefix("etag:")
        data = oss_parts.read_range(self.fs, path, start, length, etag)
        if not data:
            # A range that is not there is refused before the condition is looked at.
            self.check_pin(path, pin)
        return data

    def stamp_in(self, info: Mapping[str, Any]) -> str | None:
        """Return the ETag."""
        return f"etag:{info['ETag']}" if info.get("ETag") else None

    def stamp(self, path: str) -> str | None:
        """Return the ETag."""
        return self.stamp_in(self._object(path))

    def checksum(self, path: str) -> str | None:
        """Return the MD5 digest that the ETag is, or the CRC that OSS keeps of all objects."""
        return oss_parts.checksum(self.fs, path)

    def storage_class(self, path: str) -> str | None:
        """Return the storage class of an object, ``None`` for a folder, which has none."""
        found = self.fs.info(path).get("StorageClass")
        return None if found is None else str(found)

    def set_storage_class(self, path: str, name: str) -> int:
        """Copy an object, or all below a folder, onto itself with the class; headers and metadata stay.

        An archived object has to be restored first. OSS charges a class with a minimum duration until its end.
        """
        self._check_storage_class(name)
        others = [item["name"] for item in self._objects(path) if item["StorageClass"] != name]
        headers = {"x-oss-storage-class": name}
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="oss") as pool:
            list(pool.map(lambda item: self.fs.cp_file(item, item, headers=headers), others))
        return len(others)

    def archive_state(self, path: str) -> ArchiveState:
        """Look at the class, and at what the store says of a restore."""
        found = self._object(path)
        if found["StorageClass"] not in _ARCHIVES:
            return "readable"
        restore = found["Restore"]
        if restore is None:
            return "archived"
        return "restoring" if 'ongoing-request="true"' in restore else "readable"

    def restore(self, path: str, *, days: int, speed: str) -> None:
        """Ask for a readable copy; ``speed`` counts for ``ColdArchive`` and ``DeepColdArchive`` only."""
        found = self._object(path)
        if found["StorageClass"] not in _ARCHIVES or self.archive_state(path) != "archived":
            return
        parameters = RestoreJobParameters(speed) if found["StorageClass"] in _WITH_SPEED else None
        bucket, key = self.fs.split_path(path)
        # Another process may have asked meanwhile; that is as good.
        with suppress(oss2.exceptions.RestoreAlreadyInProgress):
            self.fs.bucket(bucket).restore_object(key, input=RestoreConfiguration(days, parameters))

    def _object(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.fs.info(path)
        if found["type"] == "directory":
            raise FileNotFoundError(path)
        return found

    def _objects(self, path: str) -> Iterator[dict[str, Any]]:
        found = self.fs.info(path)
        if found["type"] == "file":
            yield found
        else:
            yield from self.fs.find(path, detail=True).values()

    # errors -----------------------------------------------------------------------------------

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Tell a missing bucket, a refused credential and trouble on the way from each other."""
        bucket, _ = self.fs.split_path(path)
        if not isinstance(error, oss2.exceptions.OssError):
            return super().explain(error, what, path)
        said = f"{error.code}: {error.message}" if error.code else f"answer {error.status}"
        if isinstance(error, oss2.exceptions.RequestError):
            said = str(error.exception)
        place = f"{what} in bucket {bucket!r}"
        if isinstance(error, oss2.exceptions.NoSuchBucket):
            explained: DataflowError | None = NotFoundError(
                f"no bucket {bucket!r} ({what}): create it, or correct the URL"
            )
        elif error.code == "InvalidObjectState":
            explained = InvalidInputError(f"{place} is archived: restore it before reading it")
        elif error.status in _DENIED:
            explained = AccessDeniedError(
                f"bucket {bucket!r} refuses {what} ({said}): check the connection's credentials and what they may do"
            )
        elif isinstance(error, oss2.exceptions.PreconditionFailed):
            explained = TransferError(f"{place} changed while it was being read or written")
        elif _is_trouble(error):
            explained = TransferError(f"trouble with {place}: {said}")
        else:
            explained = super().explain(error, what, path)
        return explained


def _is_trouble(error: oss2.exceptions.OssError) -> bool:
    if isinstance(error, oss2.exceptions.RequestError):
        return True
    return error.code in _BUSY or error.status == _TOO_MANY or error.status >= _SERVERS_FAULT


BACKEND = OssBackend
FILE_SYSTEM = OssFiles
