"""Aliyun OSS as a file system: ossfs with listings that refuse loudly, and files that appear whole.

ossfs itself writes a file by appending to it, in view of every reader, takes a refused listing for an empty folder, and
lists a whole folder to learn of one file. What is here replaces those parts; connections and the rest are ossfs's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

import oss2
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from oss2.models import PartInfo
from ossfs import OSSFileSystem

PART_BYTES = 8 << 20
PARTS_OF_ONE_SIZE = 1000
PART_GROWTH = 1.5
COPY_AT_ONCE_BYTES = 1 << 30
COPY_PART_BYTES = 256 << 20
MOST_KEYS = 1000
NEVER_REPLACE = {"x-oss-forbid-overwrite": "true"}
_TIMEOUT_SECONDS = 60


class OssFiles(OSSFileSystem):  # type: ignore[misc]
    """Buckets of Aliyun OSS; a path is ``bucket/key``."""

    protocol = "oss"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return [item.strip("/") for item in stripped] if isinstance(stripped, list) else stripped.strip("/")

    def bucket(self, name: str) -> oss2.Bucket:
        """Return the client of a bucket; digests are compared by those who know them, so it leaves out its own."""
        return oss2.Bucket(
            self._auth, self._endpoint, name, session=self._session, connect_timeout=_TIMEOUT_SECONDS, enable_crc=False
        )

    # looking ----------------------------------------------------------------------------------

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """Return what a request for one object says of it, or that there is something below the path."""
        path = self._strip_protocol(path)
        bucket, key = self.split_path(path)
        if key:
            with suppress(FileNotFoundError), _missing_is_no_file(path):
                return _described(path, self.bucket(bucket).head_object(key))
        if not path or next(self._listed(path, "", most=1), None) is not None:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def exists(self, path: str, **_options: Any) -> bool:
        """Tell whether a file or something below a folder is there; an error other than absence is raised."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's
        """Return what lies right inside a folder, or the file itself.

        :raises FileNotFoundError: when there is neither.
        """
        path = self._strip_protocol(path)
        found = list(self._listed(path, "/"))
        if not found:
            info = self.info(path)
            found = [info] if info["type"] == "file" else []
        return found if detail else [item["name"] for item in found]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's
        detail: bool = False,  # noqa: FBT001, FBT002 - fsspec's
        **options: Any,
    ) -> Any:
        """Return every file below a folder, a thousand to a request."""
        if maxdepth is not None or withdirs:
            return AbstractFileSystem.find(self, path, maxdepth, withdirs, detail, **options)
        found = {item["name"]: item for item in self._listed(self._strip_protocol(path), "")}
        return found if detail else sorted(found)

    def _listed(self, path: str, delimiter: str, most: int = MOST_KEYS) -> Iterator[dict[str, Any]]:
        bucket, key = self.split_path(path)
        token = ""
        with _missing_is_no_file(path):
            while True:
                page = self.bucket(bucket).list_objects_v2(
                    f"{key}/" if key else "", delimiter, continuation_token=token, max_keys=most
                )
                yield from (_listing(bucket, item) for item in page.object_list if not item.key.endswith("/"))
                for prefix in page.prefix_list:
                    yield {"name": f"{bucket}/{prefix.rstrip('/')}", "size": 0, "type": "directory"}
                token = page.next_continuation_token
                if not page.is_truncated:
                    return

    def modified(self, path: str) -> datetime:
        """Return when a file was written."""
        info = self.info(path)
        if info["type"] == "directory":
            raise FileNotFoundError(path)
        return cast(datetime, info["LastModified"])

    # reading and writing ----------------------------------------------------------------------

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,  # noqa: FBT001, FBT002 - fsspec's
        **options: Any,
    ) -> Any:
        kind = _Reader if mode == "rb" else _Upload
        return kind(self, path, mode, block_size or PART_BYTES, autocommit, **options)

    def pipe_file(
        self,
        path: str,
        value: bytes,
        mode: str = "overwrite",
        headers: Mapping[str, str] | None = None,
        **_options: Any,
    ) -> None:
        """Write a small file by one request; ``mode="create"`` never replaces one."""
        bucket, key = self.split_path(path)
        conditions = NEVER_REPLACE if mode == "create" else {}
        self.bucket(bucket).put_object(key, value, headers={**conditions, **(headers or {})})

    def cp_file(self, path1: str, path2: str, headers: Mapping[str, str] | None = None, **_options: Any) -> None:
        """Copy on the server's side, a large file in parts."""
        source, target = self.split_path(path1), self.split_path(path2)
        client = self.bucket(target[0])
        with _missing_is_no_file(path1):
            found = self.bucket(source[0]).head_object(source[1])
            pin = {"x-oss-copy-source-if-match": f'"{found.etag}"'}
            if found.content_length <= COPY_AT_ONCE_BYTES:
                client.copy_object(*source, target[1], headers={**pin, **(headers or {})})
                return
            kept = {name: value for name, value in found.headers.items() if name.lower().startswith("x-oss-meta-")}
            kept["Content-Type"] = found.content_type
            upload = client.init_multipart_upload(target[1], headers={**kept, **(headers or {})}).upload_id
            try:
                parts = []
                for number, start in enumerate(range(0, found.content_length, COPY_PART_BYTES), 1):
                    span = (start, min(start + COPY_PART_BYTES, found.content_length) - 1)
                    made = client.upload_part_copy(*source, span, target[1], upload, number, headers=pin)
                    parts.append(PartInfo(number, made.etag))
                client.complete_multipart_upload(target[1], upload, parts)
            except BaseException:
                client.abort_multipart_upload(target[1], upload)
                raise

    def rm_file(self, path: str) -> None:
        """Delete a file; OSS does not tell whether it was there."""
        bucket, key = self.split_path(path)
        self.bucket(bucket).delete_object(key)


class _Reader(AbstractBufferedFile):  # type: ignore[misc]
    """A file as it was when it was opened."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        if start >= end:
            return b""
        bucket, key = self.fs.split_path(self.path)
        headers = {"If-Match": self.details["ETag"], "x-oss-range-behavior": "standard"}
        return bytes(self.fs.bucket(bucket).get_object(key, byte_range=(start, end - 1), headers=headers).read())


class _Upload(AbstractBufferedFile):  # type: ignore[misc]
    """A file in the making, whose parts grow with it, so that their number never runs out."""

    blocksize: int

    def __init__(
        self, fs: Any, path: str, mode: str, *arguments: Any, headers: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(fs, path, "wb", *arguments, **options)
        self.conditions = NEVER_REPLACE if mode == "xb" else {}
        self.headers = headers or {}
        bucket, self.key = fs.split_path(path)
        self.client = fs.bucket(bucket)
        self.upload: str | None = None
        self.parts: list[PartInfo] = []

    def _initiate_upload(self) -> None:
        self.upload = self.client.init_multipart_upload(self.key, headers={**self.conditions, **self.headers}).upload_id

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: FBT001, FBT002 - fsspec's
        data = self.buffer.getvalue()
        if data or not self.parts:
            number = len(self.parts) + 1
            made = self.client.upload_part(self.key, self.upload, number, data)
            self.parts.append(PartInfo(number, made.etag))
        if len(self.parts) % PARTS_OF_ONE_SIZE == 0:
            self.blocksize = int(self.blocksize * PART_GROWTH)
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Let the file appear."""
        self.client.complete_multipart_upload(self.key, self.upload, self.parts, headers=self.conditions)
        self.upload = None

    def discard(self) -> None:
        """Give up what was sent."""
        if self.upload is not None:
            self.client.abort_multipart_upload(self.key, self.upload)
            self.upload = None


@contextmanager
def _missing_is_no_file(path: str) -> Iterator[None]:
    """Raise Python's error where OSS has no such object; a request for a head is told so without a code."""
    try:
        yield
    except oss2.exceptions.NotFound as error:
        if error.code in ("", "NoSuchKey"):
            raise FileNotFoundError(path) from error
        raise


def _described(path: str, found: Any) -> dict[str, Any]:
    return {
        "name": path,
        "size": found.content_length,
        "type": "file",
        "ETag": f'"{found.etag}"',
        "LastModified": datetime.fromtimestamp(found.last_modified, UTC),
        "StorageClass": found.headers.get("x-oss-storage-class", "Standard"),
        "Restore": found.headers.get("x-oss-restore"),
    }


def _listing(bucket: str, item: Any) -> dict[str, Any]:
    return {
        "name": f"{bucket}/{item.key}",
        "size": item.size,
        "type": "file",
        "ETag": f'"{item.etag}"',
        "LastModified": datetime.fromtimestamp(item.last_modified, UTC),
        "StorageClass": item.storage_class,
    }
