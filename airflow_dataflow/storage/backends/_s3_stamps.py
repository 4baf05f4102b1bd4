"""What S3 knows of an object's content without reading it: ETags and checksums."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_dataflow.storage.backends._s3_client import S3Requests

_STAMP = re.compile(r'ETag:"([^"]*)"')
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-([1-9]\d{0,4})", re.ASCII)
_KINDS = {"ChecksumCRC64NVME": "crc64nvme", "ChecksumCRC32C": "crc32c", "ChecksumCRC32": "crc32"}
ODD_ETAGS = ("SSECustomerAlgorithm", "SSEKMSKeyId")
"""What answers say of objects whose ETag is no digest of their content."""


def bare(etag: str) -> str:
    """Return an ETag without the quotes that some answers of some servers lack."""
    return etag.strip('"')


def stamp_with(etag: str) -> str:
    """Return the stamp of an object with an ETag."""
    return f'ETag:"{bare(etag)}"'


def etag_in(stamp: str | None) -> str | None:
    """Return the ETag in a stamp, without quotes; a stamp of another kind fits no object."""
    if stamp is None:
        return None
    known = _STAMP.fullmatch(stamp)
    return known[1] if known else stamp


def checksum_in_stamp(stamp: str) -> str | None:
    """Return the checksum that a stamp seems to be."""
    etag = etag_in(stamp) or ""
    return f"md5:{etag}" if _MD5.fullmatch(etag) else None


def checksum_in_head(requests: S3Requests, path: str) -> str | None:
    """Ask the server what it knows of an object's content.

    :raises FileNotFoundError: when it is not there.
    """
    from botocore.exceptions import ClientError

    from airflow_dataflow.storage.backends._s3_errors import is_missing

    bucket, _, key = path.partition("/")
    which = {"Bucket": bucket, "Key": key}
    try:
        found = requests.call("head_object", **which, ChecksumMode="ENABLED")
    except ClientError as error:
        if is_missing(error):
            raise FileNotFoundError(path) from error
        raise
    etag = bare(found["ETag"])
    if not any(found.get(name) for name in ODD_ETAGS):
        if _MD5.fullmatch(etag):
            return f"md5:{etag}"
        parts = _MD5_OF_PARTS.fullmatch(etag)
        size = _part_bytes(requests, which, found, int(parts[1])) if parts else None
        if size is not None:
            return f"md5-parts:{etag}:{size}"
    return _whole_checksum(found)


def _part_bytes(requests: S3Requests, which: Mapping[str, str], found: Mapping[str, Any], count: int) -> int | None:
    """Return the size of an object's parts; ``None`` when they differ, or the server knows nothing of them."""
    if count == 1:
        return int(found["ContentLength"])
    first = requests.call("head_object", **which, PartNumber=1)
    size = int(first["ContentLength"])
    fits = size and -(-found["ContentLength"] // size) == count and bare(first["ETag"]) == bare(found["ETag"])
    return size if fits else None


def _whole_checksum(found: Mapping[str, Any]) -> str | None:
    """Return the checksum of the whole object that an answer tells; that of its parts ends in their number."""
    for name, kind in _KINDS.items():
        value = found.get(name)
        if value and "-" not in value and found.get("ChecksumType") != "COMPOSITE":
            return f"{kind}:{base64.b64decode(value).hex()}"
    return None
