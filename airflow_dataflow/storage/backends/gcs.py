"""Google Cloud Storage (``gs://`` and ``gcs://``): an upload is visible when it is complete, and never half.

A file that must not replace another is uploaded on the condition that none is there (``ifGenerationMatch=0``). Storage
classes differ in price only: all of them can be read at once, also ``ARCHIVE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import aiohttp
import requests
from gcsfs.core import GCSFile, GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError, TransportError

from airflow_dataflow.errors import AccessDeniedError, DataflowError, NotFoundError, TransferError
from airflow_dataflow.storage.backends import Backend
from airflow_dataflow.storage.backends import _gcs_parts as gcs_parts
from airflow_dataflow.storage.backends._gcs_parts import NAME_DIGITS, GcsUpload
from airflow_dataflow.storage.backends.local import is_partial
from airflow_dataflow.storage.parts import DamagedError, Parts

_PART_BYTES = 8 << 20
_REQUESTS_AT_ONCE = 8
_KEPT = ("contentType", "contentEncoding", "contentLanguage", "contentDisposition", "cacheControl", "metadata")
_DENIED = (401, 403)
_TOO_MANY = 429


class _Upload(GCSFile):  # type: ignore[misc]
    """A file in the making that gets a storage class, which gcsfs itself cannot ask for."""

    storage_class = ""

    def _initiate_upload(self) -> None:
        headers, _ = self.gcsfs.call(
            "POST",
            f"{self.gcsfs.base.replace('/storage/v1/', '/upload/storage/v1/')}b/{{}}/o",
            self.bucket,
            uploadType="resumable",
            json={"name": self.key, "storageClass": self.storage_class},
            headers={"X-Upload-Content-Type": self.content_type},
            ifGenerationMatch="0" if "x" in self.mode else None,
        )
        self.location = headers["Location"]


class GcsBackend(Backend):
    """Buckets behind gcsfs. There are no locks: concurrent writers of one version write the same bytes.

    Uploads that a killed process began are seen by nobody, cost nothing and end by themselves after a week; those of
    parts are objects with hidden names, which the sweep removes.
    """

    has_folders = False
    copies_inside = True
    small_files_at_once = 16
    storage_classes = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")

    _new_files: str | None = None
    """Storage class of new files."""

    def write_as(self, storage_class: str) -> None:
        """Give new files and copies a storage class; all of them can be read at once."""
        self._check_storage_class(storage_class)
        self._new_files = storage_class

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:  # noqa: ARG002 - parts are unlimited
        mode = "xb" if exclusive else "wb"
        if self._new_files is None:
            # fs.open would keep the file, and what it holds in memory, for the end of a transaction.
            return self.fs._open(path, mode, _PART_BYTES, autocommit=False)  # noqa: SLF001
        file = _Upload(self.fs, path, mode, _PART_BYTES, autocommit=False)
        file.storage_class = self._new_files
        return file

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:
        if file.offset is None and self._new_files is None:
            # Nothing was sent yet: one request instead of the two that a resumable upload takes.
            mode = "create" if exclusive else "overwrite"
            self.fs.pipe_file(path, file.buffer.getvalue(), content_type=file.content_type, mode=mode)
            file.closed = True
        else:
            file.close()
            file.commit()

    def put(self, path: str, data: bytes | memoryview) -> str | bool:
        """Write a small object by one request; Google's CRC-32C proves that it arrived."""
        if self._new_files is not None or not len(data):
            return super().put(path, data)
        bucket, key, _ = self.fs.split_path(path)
        body = bytes(data)
        made = gcs_parts.insert(self.fs, bucket, key, body)
        if made["crc32c"] != gcs_parts.crc32c_of(body):
            raise DamagedError(f"{path} arrived damaged: Google's CRC-32C of it is {made['crc32c']}")
        return f"generation:{made['generation']}"

    def part_bytes(self, size: int) -> int:
        """Return 16 MiB, or more where there would be too many parts."""
        return gcs_parts.part_bytes(size)

    def begin_upload(self, path: str, *, size: int, part_bytes: int) -> GcsUpload:
        """Begin an object that is composed of part objects."""
        return GcsUpload.begin(self.fs, path, Parts(size, part_bytes), self._new_files)

    def resume_upload(self, path: str, handle: str) -> GcsUpload | None:
        """Return an upload whose parts are still there."""
        return GcsUpload.resume(self.fs, path, handle, self._new_files)

    def read_range(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of the generation that is pinned."""
        generation = None if pin is None else pin.removeprefix("generation:")
        data = gcs_parts.read_range(self.fs, path, start, length, generation)
        if not data:
            # A range that is not there may be refused before the condition is looked at.
            self.check_pin(path, pin)
        return data

    def copy(self, source: str, target: str) -> None:
        """Copy on Google's side."""
        if self._new_files is None:
            self.fs.cp_file(source, target)
        else:
            self._rewrite(self._object(source), target, self._new_files)

    def make_folder(self, path: str) -> None:
        """Do nothing: there are no folders, and a bucket that is missing is an error rather than a wish."""

    def remove_all(self, path: str) -> None:
        """Delete every object below ``path``; gcsfs would take brackets in it for a pattern."""
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="gcs") as pool:
            list(pool.map(self.fs.rm_file, self.fs.find(path)))

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:
        """Remove the part objects below ``root`` of uploads that got no part since ``before``."""
        newest: dict[str, datetime] = {}
        partial = {}
        for path, found in self.fs.find(root, detail=True).items():
            folder, _, name = path.rpartition("/")
            if is_partial(name):
                upload = f"{folder}/{name[:NAME_DIGITS]}"
                partial[path] = upload
                newest[upload] = max(newest.get(upload, found["mtime"]), found["mtime"])
        removed = [path for path, upload in partial.items() if newest[upload] < before]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="gcs") as pool:
            list(pool.map(self.fs.rm_file, removed))
        return removed

    def stamp_in(self, info: Mapping[str, Any]) -> str | None:
        """Return the generation."""
        return f"generation:{info['generation']}" if info.get("generation") else None

    def stamp(self, path: str) -> str | None:
        """Return the generation, which is another after each write."""
        return self.stamp_in(self._object(path))

    def checksum(self, path: str) -> str | None:
        """Return the MD5 digest that Google keeps, or the CRC-32C of an object that was composed of others."""
        return gcs_parts.checksum_in(self._object(path))

    # storage classes --------------------------------------------------------------------------

    def storage_class(self, path: str) -> str | None:
        """Return the storage class of an object, ``None`` for a folder, which has none."""
        found = self.fs.info(path)
        return None if found["type"] == "directory" else str(found["storageClass"])

    def set_storage_class(self, path: str, name: str) -> int:
        """Rewrite an object, or all below a folder, in place; an object that changes meanwhile stays as it is.

        What was written under a class with a minimum duration is charged until its end, as Google does.
        """
        self._check_storage_class(name)
        found = self.fs.info(path)
        objects = [found] if found["type"] == "file" else list(self.fs.find(path, detail=True).values())
        others = [item for item in objects if item["storageClass"] != name]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="gcs") as pool:
            list(pool.map(lambda item: self._rewrite(item, item["name"], name, item["generation"]), others))
        return len(others)

    def _rewrite(self, found: dict[str, Any], target: str, storage_class: str, replaced: str | None = None) -> None:
        """Copy what was found, and nothing newer, over what the generation ``replaced`` says, or over anything."""
        places = (*self.fs.split_path(found["name"])[:2], *self.fs.split_path(target)[:2])
        # A body replaces all that describes the object, not only what it names.
        body = {"storageClass": storage_class} | {field: found[field] for field in _KEPT if field in found}
        answer: dict[str, Any] = {"done": False}
        while not answer["done"]:
            answer = self.fs.call(
                "POST",
                "b/{}/o/{}/rewriteTo/b/{}/o/{}",
                *places,
                json_out=True,
                json=body,
                ifSourceGenerationMatch=found["generation"],
                ifGenerationMatch=replaced,
                rewriteToken=answer.get("rewriteToken"),
            )

    def _object(self, path: str) -> dict[str, Any]:
        found = self.fs.info(path)
        if found["type"] == "directory":
            raise FileNotFoundError(path)
        return dict(found)

    # errors -----------------------------------------------------------------------------------

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Tell a missing bucket, a refused credential and trouble on the way from each other."""
        bucket = path.lstrip("/").partition("/")[0]
        if isinstance(error, FileNotFoundError) and "/upload/storage/" in str(error):
            return NotFoundError(f"no bucket {bucket!r} ({what}): create it, or correct the URL")
        if isinstance(error, FileExistsError):
            return None
        said = " ".join(str(error).split()) or type(error).__name__
        if _is_denied(error):
            return AccessDeniedError(
                f"bucket {bucket!r} refuses {what} ({said}): check the connection's credentials and what they may do"
            )
        if _is_trouble(error):
            return TransferError(f"trouble with {what} in bucket {bucket!r}: {said}")
        return super().explain(error, what, path)


def _is_denied(error: Exception) -> bool:
    if isinstance(error, HttpError):
        return error.code in _DENIED
    if isinstance(error, GoogleAuthError):
        return not isinstance(error, TransportError)
    return isinstance(error, OSError) and str(error).startswith("Forbidden: ")


def _is_trouble(error: Exception) -> bool:
    if isinstance(error, HttpError):
        return error.code is None or error.code == _TOO_MANY or error.code >= 500  # noqa: PLR2004 - the server's fault
    return isinstance(
        error,
        aiohttp.ClientError | requests.exceptions.RequestException | TransportError | ConnectionError | TimeoutError,
    )


BACKEND = GcsBackend
FILE_SYSTEM = GCSFileSystem
"""The one that speaks HTTP only; the other asks Google's control plane by gRPC for the kind of each bucket."""
