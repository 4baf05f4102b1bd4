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
_USUAL_PART_BYTES = tuple(number << 20 for number in (16, 8, 5, 10, 32, 50, 64, 100, 128))
"""Ours, and those of other clients."""
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
    if _MD5.fullmatch(etag):
        return f"md5:{etag}"
    return f"md5-parts:{etag}:{1 << 62}" if etag.endswith("-1") and _MD5_OF_PARTS.fullmatch(etag) else None


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
        if parts is not None:
            return f"md5-parts:{etag}:{_part_bytes(requests, which, found, int(parts[1]))}"
    return _whole_checksum(found)


def _part_bytes(requests: S3Requests, which: Mapping[str, str], found: Mapping[str, Any], count: int) -> str:
    """Return the size of an object's parts, or such as it may be where the server does not tell it."""
    total = int(found["ContentLength"])
    if count == 1:
        return str(max(total, 1))
    first = requests.call("head_object", **which, PartNumber=1)
    size = int(first["ContentLength"])
    if _fits(size, total, count) and bare(first["ETag"]) == bare(found["ETag"]):
        return str(size)
    usual = [size for size in (*_USUAL_PART_BYTES, -(-total // count)) if _fits(size, total, count)]
    return "|".join([*map(str, dict.fromkeys(usual)), "?"])


def _fits(size: int, total: int, count: int) -> bool:
    return size > 0 and -(-total // size) == count


def _whole_checksum(found: Mapping[str, Any]) -> str | None:
    """Return the checksum of the whole object that an answer tells; that of its parts ends in their number."""
    for name, kind in _KINDS.items():
        value = found.get(name)
        if value and "-" not in value and found.get("ChecksumType") != "COMPOSITE":
            return f"{kind}:{base64.b64decode(value).hex()}"
    return None
