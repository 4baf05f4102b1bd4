"""Objects on S3 that are written in parts, each with its MD5 digest, and ranges of one state of an object.

A server checks a part by the digest that it comes with. Some do not, so the ETag of the answer, which is the digest of
what has arrived, is compared too; an object that the server encrypts by a key of its own has another kind of ETag.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_dataflow.errors import SourceChangedError, TransferError
from airflow_dataflow.storage.backends._s3_client import S3Requests
from airflow_dataflow.storage.backends._s3_errors import diagnosis, is_missing
from airflow_dataflow.storage.backends._s3_objects import SmallObjects
from airflow_dataflow.storage.backends._s3_stamps import ODD_ETAGS, bare
from airflow_dataflow.storage.checksums import md5_of_parts
from airflow_dataflow.storage.parts import DamagedError, LostUploadError, Parts, Upload, sealed, unsealed

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PART_BYTES = 16 << 20
MOST_PARTS = 10_000
_MIB = 1 << 20
_FEW_BYTES = 1 << 20
"""What obstore reads with less work than botocore, which has more to do for each request and less for each byte."""
_HANDLE = re.compile(r"(\S{1,2000}) (\d{1,19}) ([1-9]\d{0,18})", re.ASCII)
_NO_UPLOAD = ("NoSuchUpload", "NoSuchKey", "404")
"""What servers say of an upload that was put together or aborted; Ceph takes it for an object."""
_OTHER_PARTS = ("InvalidPart", "InvalidPartOrder")
_MD5 = re.compile(r"[0-9a-f]{32}")


class S3Upload(Upload):
    """An upload of parts.

    :param requests: what asks the server.
    :param path: bucket and key of the object in the making.
    :param upload_id: its name at the server.
    :param parts: where its parts lie.
    """

    verifies = True

    def __init__(self, requests: S3Requests, path: str, upload_id: str, parts: Parts) -> None:
        self._requests = requests
        self._path = path
        self._id = upload_id
        self._parts = parts
        bucket, _, key = path.partition("/")
        self._object = {"Bucket": bucket, "Key": key}
        self._which = {**self._object, "UploadId": upload_id}

    @classmethod
    def begin(cls, requests: S3Requests, path: str, parts: Parts, new_files: Mapping[str, str]) -> S3Upload:
        """Begin an upload.

        :param new_files: what requests that make an object say of it.
        """
        bucket, _, key = path.partition("/")
        made = requests.call("create_multipart_upload", Bucket=bucket, Key=key, **new_files)
        return cls(requests, path, made["UploadId"], parts)

    @classmethod
    def resume(cls, requests: S3Requests, path: str, handle: str) -> S3Upload | None:
        """Return the upload of ``path`` that has this handle, ``None`` when the server has none."""
        words = _HANDLE.fullmatch(unsealed(path, handle) or "")
        if words is None:
            return None
        upload = cls(requests, path, words[1], Parts(int(words[2]), int(words[3])))
        try:
            requests.call("list_parts", **upload._which, MaxParts=1)
        except ClientError as error:
            if diagnosis(error)[0] in _NO_UPLOAD:
                return None
            raise
        return upload

    @property
    def handle(self) -> str:
        """Its name at the server, its size, and that of its parts."""
        return sealed(self._path, self._id, self._parts.size, self._parts.part_bytes)

    def put(self, number: int, data: bytes | memoryview) -> str:
        """Send a part; the token is its ETag."""
        self._parts.check(number, len(data))
        digest = hashlib.md5(data, usedforsecurity=False)
        body = data if isinstance(data, bytes) else bytes(data)
        proof = {"ContentMD5": base64.b64encode(digest.digest()).decode()}
        try:
            made = self._requests.call("upload_part", **self._which, PartNumber=number + 1, Body=body, **proof)
        except ClientError as error:
            if diagnosis(error)[0] in _NO_UPLOAD:
                raise self._lost(error) from error
            raise
        if not arrived(made, digest.hexdigest()):
            raise DamagedError(f"part {number} of {self._path} arrived damaged: its ETag there is {made['ETag']}")
        return bare(made["ETag"])

    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Let the server put the parts together; doing it again, after an answer that was lost, changes nothing."""
        self._parts.check_all(len(tokens))
        listed = [{"PartNumber": number, "ETag": f'"{token}"'} for number, token in enumerate(tokens, 1)]
        parts: dict[str, Any] = {"MultipartUpload": {"Parts": listed}}
        if exclusive:
            if self._etag() is not None:
                raise FileExistsError(f"{self._path} exists already")
            parts["IfNoneMatch"] = "*"
        try:
            made = self._requests.call("complete_multipart_upload", **self._which, **parts)
        except ClientError as error:
            self._explain(error, tokens)
            return
        if exclusive and self._etag() != (bare(made["ETag"]) or etag_of(tokens)):
            raise FileExistsError(f"{self._path} was replaced by another writer at the same moment")

    def _explain(self, error: ClientError, tokens: Sequence[str]) -> None:
        """Return if the parts were put together in spite of the error, and raise what it means if not."""
        code = diagnosis(error)[0]
        if code in _NO_UPLOAD and self._etag() == etag_of(tokens):
            return
        if code == "PreconditionFailed":
            raise FileExistsError(f"{self._path} exists already") from error
        if code in (*_NO_UPLOAD, *_OTHER_PARTS):
            raise self._lost(error) from error
        raise error

    def _lost(self, error: ClientError) -> LostUploadError:
        return LostUploadError(f"the server has not all parts of s3://{self._path} any more ({error}); begin it again")

    def _etag(self) -> str | None:
        """Return the ETag of the object as it is, ``None`` when there is none."""
        try:
            return bare(self._requests.call("head_object", **self._object)["ETag"])
        except ClientError as error:
            if not is_missing(error):
                raise
            return None

    def discard(self) -> None:
        """Abort the upload."""
        try:
            self._requests.call("abort_multipart_upload", **self._which)
        except ClientError as error:
            if diagnosis(error)[0] not in _NO_UPLOAD:
                raise


def etag_of(tokens: Sequence[str]) -> str:
    """Return the ETag of an object of these parts; one that no object has where theirs are no MD5 digests."""
    digests = [bytes.fromhex(token) for token in tokens if _MD5.fullmatch(token)]
    return md5_of_parts(digests) if len(digests) == len(tokens) else ""


def part_bytes(size: int) -> int:
    """Return the size of the parts in which an object is sent: 16 MiB, or more where there would be too many."""
    least = -(-size // MOST_PARTS)
    return max(PART_BYTES, -(-least // _MIB) * _MIB)


def put(fs: AbstractFileSystem, path: str, data: bytes | memoryview, new_files: Mapping[str, str]) -> str | None:
    """Write an object by one request; return its ETag when that proves that all arrived, ``None`` when it does not.

    :param new_files: what requests that make an object say of it.
    :raises DamagedError: when it arrived damaged; it is removed.
    """
    digest = hashlib.md5(data, usedforsecurity=False)
    bucket, _, key = path.partition("/")
    etag = None if new_files else SmallObjects.of(fs).put(bucket, key, data, exclusive=False)
    if etag is None:
        proof = {"ContentMD5": base64.b64encode(digest.digest()).decode()}
        made = S3Requests.of(fs).call("put_object", Bucket=bucket, Key=key, Body=bytes(data), **proof, **new_files)
    else:
        made = {"ETag": etag}
    etag = bare(made["ETag"])
    if etag == digest.hexdigest():
        return etag
    if arrived(made, digest.hexdigest()):
        return None
    return _judged(S3Requests.of(fs), path, digest.hexdigest())


def _judged(requests: S3Requests, path: str, md5: str) -> str | None:
    """Return the ETag of an object whose digest the answer to its writer denied, if only that answer was wrong.

    ``None`` if its ETag proves nothing, since the server encrypts it by a key of its own.

    Servers that check digests refuse what comes damaged; of the others, none may show it.

    :raises DamagedError: when the object is damaged; it is removed.
    """
    bucket, _, key = path.partition("/")
    found = requests.call("head_object", Bucket=bucket, Key=key)
    etag = bare(found["ETag"])
    if arrived(found, md5):
        return etag if etag == md5 else None
    requests.call("delete_object", Bucket=bucket, Key=key)
    raise DamagedError(f"{path} arrived damaged, with the ETag {etag}, though its MD5 digest is {md5}; it was removed")


def read_pinned(fs: AbstractFileSystem, path: str, start: int, length: int, etag: str | None) -> bytes:
    """Return bytes of an object, a few of them through obstore, see :func:`read_range`."""
    if length <= _FEW_BYTES:
        bucket, _, key = path.partition("/")
        found = SmallObjects.of(fs).get_range(bucket, key, start, length)
        if found is not None:
            if etag is not None and bare(found[1]) != etag:
                _compare(S3Requests.of(fs), path, found[1], etag)
            return found[0]
    return read_range(S3Requests.of(fs), path, start, length, etag)


def read_range(requests: S3Requests, path: str, start: int, length: int, etag: str | None) -> bytes:
    """Return bytes of an object.

    :param etag: the object's ETag; bytes of another state are refused.
    :raises SourceChangedError: when it has another, or is gone, and ``etag`` is given.
    :raises FileNotFoundError: when it is not there.
    """
    bucket, _, key = path.partition("/")
    pin = {} if etag is None else {"IfMatch": f'"{etag}"'}
    try:
        found = requests.call("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}", **pin)
    except ClientError as error:
        if diagnosis(error)[0] == "InvalidRange":
            if etag is not None:
                _check(requests, path, etag)
            return b""
        refuse_changes(error, path, pinned=etag is not None)
        raise
    # Its own context manager would return what lies below it, with errors of another library.
    with closing(found["Body"]) as body:
        data: bytes = body.read()
    _compare(requests, path, found["ETag"], etag)
    total = int(str(found.get("ContentRange", "/0")).rpartition("/")[2])
    if len(data) < min(length, total - start):
        raise TransferError(f"{path} broke off after {len(data):,} bytes of {length:,} from {start:,} on")
    return data


def _compare(requests: S3Requests, path: str, answered: str, etag: str | None) -> None:
    """Refuse bytes of another state of an object: servers that know no conditions still say what they sent."""
    if etag is not None and bare(answered) != etag:
        _check(requests, path, etag)
        raise DamagedError(f"{path} came with another ETag ({bare(answered)}) than it has ({etag})")


def _check(requests: S3Requests, path: str, etag: str) -> None:
    bucket, _, key = path.partition("/")
    try:
        found = requests.call("head_object", Bucket=bucket, Key=key)
    except ClientError as error:
        refuse_changes(error, path, pinned=True)
        raise
    if bare(found["ETag"]) != etag:
        raise changed(path, "replaced")


def refuse_changes(error: Exception, path: str, *, pinned: bool) -> None:
    """Raise what an error says of an object that is another than it was, or gone; return if it says nothing of it."""
    code = diagnosis(error)[0]
    if is_missing(error):
        if pinned:
            raise changed(path, "removed") from error
        raise FileNotFoundError(path) from error
    if pinned and code == "PreconditionFailed":
        raise changed(path, "replaced") from error


def changed(path: str, how: str) -> SourceChangedError:
    """Return the error about an object that was replaced or removed."""
    return SourceChangedError(
        f"s3://{path} was {how} while it was being copied; nothing of it was published: run the transfer again when "
        "nobody writes there"
    )


def arrived(made: Mapping[str, Any], md5: str) -> bool:
    """Tell whether a server that answered ``made`` has the bytes with this digest, as far as the answer shows it."""
    etag = bare(made["ETag"])
    return etag == md5 or any(made.get(name) for name in ODD_ETAGS) or not _MD5.fullmatch(etag)
