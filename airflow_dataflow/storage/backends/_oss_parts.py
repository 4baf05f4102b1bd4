"""Objects on Aliyun OSS that are written in parts, each with its MD5 digest, and ranges of one state of an object."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import oss2
from oss2.models import PartInfo

from airflow_dataflow.errors import SourceChangedError, TransferError
from airflow_dataflow.storage.backends._oss_files import NEVER_REPLACE
from airflow_dataflow.storage.parts import DamagedError, LostUploadError, Parts, Upload, sealed, unsealed

if TYPE_CHECKING:
    from airflow_dataflow.storage.backends._oss_files import OssFiles

EXISTS = ("FileAlreadyExists", "ObjectAlreadyExists")
"""What OSS says when an object must not be replaced."""
_PART_BYTES = 16 << 20
_MOST_PARTS = 10_000
_MIB = 1 << 20
_HANDLE = re.compile(r"(\S{1,2000}) (\d{1,19}) ([1-9]\d{0,18})", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}")
_LOST = ("NoSuchUpload", "InvalidPart", "InvalidPartOrder")
_ENCRYPTED = "x-oss-server-side-encryption"


class OssUpload(Upload):
    """An upload of parts.

    :param fs: the file system.
    :param path: bucket and key of the object in the making.
    :param upload_id: its name at the server.
    :param parts: where its parts lie.
    """

    verifies = True

    def __init__(self, fs: OssFiles, path: str, upload_id: str, parts: Parts) -> None:
        bucket, self._key = fs.split_path(path)
        self._client = fs.bucket(bucket)
        self._path = path
        self._id = upload_id
        self._parts = parts

    @classmethod
    def begin(cls, fs: OssFiles, path: str, parts: Parts, headers: Mapping[str, str]) -> OssUpload:
        """Begin an upload.

        :param headers: those of requests that make an object.
        """
        bucket, key = fs.split_path(path)
        made = fs.bucket(bucket).init_multipart_upload(key, headers=dict(headers))
        return cls(fs, path, made.upload_id, parts)

    @classmethod
    def resume(cls, fs: OssFiles, path: str, handle: str) -> OssUpload | None:
        """Return the upload of ``path`` that has this handle, ``None`` when the server has none."""
        words = _HANDLE.fullmatch(unsealed(path, handle) or "")
        if words is None:
            return None
        upload = cls(fs, path, words[1], Parts(int(words[2]), int(words[3])))
        try:
            upload._client.list_parts(upload._key, upload._id, marker="0", max_parts=1)
        except oss2.exceptions.NoSuchUpload:
            return None
        return upload

    @property
    def handle(self) -> str:
        """Its name at the server, its size, and that of its parts."""
        return sealed(self._path, self._id, self._parts.size, self._parts.part_bytes)

    def put(self, number: int, data: bytes | memoryview) -> str:
        """Send a part; the token is its ETag."""
        self._parts.check(number, len(data))
        digest, headers = _proof(data)
        try:
            made = self._client.upload_part(self._key, self._id, number + 1, bytes(data), headers=headers)
        except oss2.exceptions.NoSuchUpload as error:
            raise self._lost(error) from error
        if not _arrived(made, digest):
            raise DamagedError(f"part {number} of {self._path} arrived damaged: its ETag there is {made.etag}")
        return str(made.etag)

    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Let the server put the parts together."""
        self._parts.check_all(len(tokens))
        parts = [PartInfo(number, token) for number, token in enumerate(tokens, 1)]
        headers = dict(NEVER_REPLACE) if exclusive else {}
        try:
            self._client.complete_multipart_upload(self._key, self._id, parts, headers=headers)
        except oss2.exceptions.OssError as error:
            if exclusive and error.code in EXISTS:
                raise FileExistsError(f"{self._path} exists already") from error
            if error.code in _LOST:
                raise self._lost(error) from error
            raise

    def _lost(self, error: oss2.exceptions.OssError) -> LostUploadError:
        return LostUploadError(f"OSS has not all parts of {self._path} any more ({error.code}); begin it again")

    def discard(self) -> None:
        """Abort the upload."""
        try:
            self._client.abort_multipart_upload(self._key, self._id)
        except oss2.exceptions.NoSuchUpload:
            return


def part_bytes(size: int) -> int:
    """Return the size of the parts in which an object is sent: 16 MiB, or more where there would be too many."""
    least = -(-size // _MOST_PARTS)
    return max(_PART_BYTES, -(-least // _MIB) * _MIB)


def put(fs: OssFiles, path: str, data: bytes | memoryview, headers: Mapping[str, str]) -> str | None:
    """Write an object by one request; return its ETag when that proves that all arrived, ``None`` when it does not.

    :raises DamagedError: when it arrived damaged.
    """
    bucket, key = fs.split_path(path)
    digest, proof = _proof(data)
    made = fs.bucket(bucket).put_object(key, bytes(data), headers={**headers, **proof})
    if made.etag.lower() == digest:
        return str(made.etag)
    if _arrived(made, digest):
        return None
    raise DamagedError(f"{path} arrived damaged: its ETag there is {made.etag}, but its MD5 digest {digest}")


def read_range(fs: OssFiles, path: str, start: int, length: int, etag: str | None) -> bytes:
    """Return bytes of an object.

    :param etag: the object's ETag with its quotes; bytes of another state are refused.
    :raises SourceChangedError: when it has another, or is gone, and ``etag`` is given.
    :raises FileNotFoundError: when it is not there.
    """
    bucket, key = fs.split_path(path)
    headers = {"x-oss-range-behavior": "standard"} | ({} if etag is None else {"If-Match": etag})
    try:
        found = fs.bucket(bucket).get_object(key, byte_range=(start, start + length - 1), headers=headers)
        data = bytes(found.read())
    except oss2.exceptions.NoSuchKey as error:
        if etag is None:
            raise FileNotFoundError(path) from error
        raise _changed(path, "removed") from error
    except oss2.exceptions.PreconditionFailed as error:
        raise _changed(path, "replaced") from error
    except oss2.exceptions.OssError as error:
        if error.status == 416:  # noqa: PLR2004 - HTTP's "range not satisfiable"
            return b""
        raise
    if len(data) != found.content_length:
        raise TransferError(f"{path} broke off after {len(data):,} bytes of {found.content_length:,}")
    return data


def checksum(fs: OssFiles, path: str) -> str | None:
    """Return the MD5 digest that an ETag is, or the CRC that OSS keeps of all objects."""
    bucket, key = fs.split_path(path)
    try:
        found = fs.bucket(bucket).head_object(key)
    except oss2.exceptions.NotFound as error:
        raise FileNotFoundError(path) from error
    etag = found.etag.lower()
    if _MD5.fullmatch(etag) and found.object_type in (None, "Normal") and _ENCRYPTED not in found.headers:
        return f"md5:{etag}"
    return None if found.server_crc is None else f"crc64ecma:{found.server_crc:016x}"


def _proof(data: bytes | memoryview) -> tuple[str, dict[str, str]]:
    digest = hashlib.md5(data, usedforsecurity=False)
    return digest.hexdigest(), {"Content-MD5": base64.b64encode(digest.digest()).decode()}


def _arrived(made: Any, digest: str) -> bool:
    """Tell whether what OSS has is what has this digest, as far as its answer shows it."""
    etag = made.etag.lower()
    return etag == digest or not _MD5.fullmatch(etag) or _ENCRYPTED in made.headers


def _changed(path: str, how: str) -> SourceChangedError:
    return SourceChangedError(
        f"oss://{path} was {how} while it was being copied; nothing of it was published: run the transfer again when "
        "nobody writes there"
    )
