"""Objects on Google Cloud Storage that are composed of part objects, and ranges of one generation of an object.

A part is an object of its own with a hidden name beside the target. Google composes 32 objects at most in a request, so
many parts are composed in steps; what is composed last is the target, which appears whole. A part is proved by the
CRC-32C that Google makes of what has arrived.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gcsfs.retry import HttpError

from airflow_dataflow.errors import SourceChangedError
from airflow_dataflow.storage.checksums import crc32c
from airflow_dataflow.storage.parts import DamagedError, LostUploadError, Parts, Upload, sealed, unsealed

if TYPE_CHECKING:
    from gcsfs.core import GCSFileSystem

PART_BYTES = 16 << 20
_MOST_PARTS = 10_000
_MIB = 1 << 20
NAME_DIGITS = 21
"""Length of what the names of all parts of an upload begin with: a dot, and its number."""
_AT_ONCE = 32
"""Objects that Google composes in one request."""
_REQUESTS_AT_ONCE = 8
_HANDLE = re.compile(r"([0-9a-f]{20}) (\d{1,19}) ([1-9]\d{0,18})", re.ASCII)
_CONDITION, _NO_RANGE = 412, 416
_STEP = 1 << 32
"""Numbers of what was composed in one step; far more than there are parts."""
_BEGUN = (1 << 48) - 1
"""Number of the object that says that an upload has begun."""


class GcsUpload(Upload):
    """Part objects, which the target is composed of.

    :param fs: the file system.
    :param path: bucket and name of the object in the making.
    :param number: 20 hexadecimal digits, with which the names of its parts begin.
    :param parts: where its parts lie.
    :param storage_class: class of the object; the bucket's own when ``None``.
    """

    verifies = True

    def __init__(self, fs: GCSFileSystem, path: str, number: str, parts: Parts, storage_class: str | None) -> None:
        self._fs = fs
        self._path = path
        self._number = number
        self._parts = parts
        self._storage_class = storage_class
        self._bucket, self._key, _ = fs.split_path(path)
        self._folder = self._key.rpartition("/")[0]

    @classmethod
    def begin(cls, fs: GCSFileSystem, path: str, parts: Parts, storage_class: str | None) -> GcsUpload:
        """Begin an upload; a small object says that it is there as long as it has no parts."""
        upload = cls(fs, path, uuid.uuid4().hex[:20], parts, storage_class)
        upload._insert(upload._name(_BEGUN), b"begun")
        return upload

    @classmethod
    def resume(cls, fs: GCSFileSystem, path: str, handle: str, storage_class: str | None) -> GcsUpload | None:
        """Return the upload of ``path`` that has this handle, ``None`` when it is gone."""
        words = _HANDLE.fullmatch(unsealed(path, handle) or "")
        if words is None:
            return None
        upload = cls(fs, path, words[1], Parts(int(words[2]), int(words[3])), storage_class)
        return upload if fs.exists(f"{upload._bucket}/{upload._name(_BEGUN)}") else None

    @property
    def handle(self) -> str:
        """What the names of its parts begin with, its size, and that of its parts."""
        return sealed(self._path, self._number, self._parts.size, self._parts.part_bytes)

    def put(self, number: int, data: bytes | memoryview) -> str:
        """Write a part object; the token is its generation."""
        self._parts.check(number, len(data))
        body = bytes(data)
        made = self._insert(self._name(number), body)
        if made["crc32c"] != crc32c_of(body):
            raise DamagedError(f"part {number} of {self._path} arrived damaged: Google's CRC-32C is {made['crc32c']}")
        return str(made["generation"])

    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Compose the parts, the target last, and remove them."""
        self._parts.check_all(len(tokens))
        sources = [
            {"name": self._name(number), "objectPreconditions": {"ifGenerationMatch": token}}
            for number, token in enumerate(tokens)
        ]
        step = 0
        try:
            while len(sources) > _AT_ONCE:
                step += 1
                sources = self._composed(sources, step)
            self._compose(self._key, sources, exclusive=exclusive)
        except FileNotFoundError as error:
            raise self._lost() from error
        except (FileExistsError, HttpError) as error:
            if not _is_other(error):
                raise
            if exclusive and self._fs.exists(self._path):
                raise FileExistsError(f"{self._path} exists already") from error
            raise self._lost() from error
        self.discard()

    def _lost(self) -> LostUploadError:
        return LostUploadError(f"Google has not all parts of {self._path} any more; begin it again")

    def _composed(self, sources: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
        """Compose groups of objects, and return the objects that they became."""
        groups = [sources[start : start + _AT_ONCE] for start in range(0, len(sources), _AT_ONCE)]

        def compose(number: int) -> dict[str, Any]:
            name = self._name(step * _STEP + number)
            self._compose(name, groups[number], exclusive=False)
            return {"name": name}

        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="gcs-parts") as pool:
            return list(pool.map(compose, range(len(groups))))

    def _compose(self, name: str, sources: list[dict[str, Any]], *, exclusive: bool) -> None:
        destination: dict[str, Any] = {"contentType": "application/octet-stream"}
        if self._storage_class is not None and name == self._key:
            destination["storageClass"] = self._storage_class
        self._fs.call(
            "POST",
            "b/{}/o/{}/compose",
            self._bucket,
            name,
            json={"sourceObjects": sources, "destination": destination},
            json_out=True,
            ifGenerationMatch="0" if exclusive else None,
        )

    def discard(self) -> None:
        """Remove the part objects, the one that says that there is an upload last."""
        prefix = f"{self._folder}/" if self._folder else ""
        start = f"{prefix}.{self._number}"
        page: dict[str, Any] = {"nextPageToken": None}
        names: list[str] = []
        while "nextPageToken" in page:
            token = page["nextPageToken"]
            page = self._fs.call("GET", "b/{}/o", self._bucket, prefix=start, pageToken=token, json_out=True)
            names += [item["name"] for item in page.get("items", ())]
        begun = self._name(_BEGUN)
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="gcs-parts") as pool:
            list(pool.map(self._remove, [name for name in names if name != begun]))
        self._remove(begun)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._bucket}/{name}")

    def _name(self, number: int) -> str:
        name = f".{self._number}{number:012x}.partial"
        return f"{self._folder}/{name}" if self._folder else name

    def _insert(self, name: str, data: bytes) -> dict[str, Any]:
        return insert(self._fs, self._bucket, name, data)


def insert(fs: GCSFileSystem, bucket: str, name: str, data: bytes) -> dict[str, Any]:
    """Write an object by one request, and return what Google says of it."""
    made: dict[str, Any] = fs.call(
        "POST",
        f"{fs.base.replace('/storage/v1/', '/upload/storage/v1/')}b/{{}}/o",
        bucket,
        uploadType="media",
        name=name,
        data=data,
        headers={"Content-Type": "application/octet-stream"},
        json_out=True,
    )
    return made


def part_bytes(size: int) -> int:
    """Return the size of the parts in which an object is sent: 16 MiB, or more where there would be too many."""
    least = -(-size // _MOST_PARTS)
    return max(PART_BYTES, -(-least // _MIB) * _MIB)


def read_range(fs: GCSFileSystem, path: str, start: int, length: int, generation: str | None) -> bytes:
    """Return bytes of an object.

    :param generation: the one that is wanted; another is refused.
    :raises SourceChangedError: when it has another, or is gone, and ``generation`` is given.
    :raises FileNotFoundError: when it is not there.
    """
    bucket, key, _ = fs.split_path(path)
    headers = {"Range": f"bytes={start}-{start + length - 1}"}
    try:
        answer = fs.call("GET", "b/{}/o/{}", bucket, key, alt="media", headers=headers, ifGenerationMatch=generation)
    except FileNotFoundError as error:
        if generation is None:
            raise
        raise _changed(path, "removed") from error
    except (FileExistsError, HttpError) as error:
        if _is_other(error):
            raise _changed(path, "replaced") from error
        if getattr(error, "code", None) == _NO_RANGE:
            return b""
        raise
    return bytes(answer[1])


def checksum_in(info: dict[str, Any]) -> str | None:
    """Return the checksum in what Google says of an object: MD5, but for composed ones, which have a CRC-32C only."""
    if info.get("md5Hash"):
        return f"md5:{base64.b64decode(info['md5Hash']).hex()}"
    return f"crc32c:{base64.b64decode(info['crc32c']).hex()}" if info.get("crc32c") else None


def crc32c_of(data: bytes) -> str:
    """Return the CRC-32C of bytes as Google writes it."""
    return base64.b64encode(crc32c(data).to_bytes(4, "big")).decode()


def _is_other(error: Exception) -> bool:
    """Tell whether a condition did not hold; gcsfs takes each one for that of a file that must not be there."""
    return isinstance(error, FileExistsError) or getattr(error, "code", None) == _CONDITION


def _changed(path: str, how: str) -> SourceChangedError:
    return SourceChangedError(
        f"gs://{path} was {how} while it was being copied; nothing of it was published: run the transfer again when "
        "nobody writes there"
    )
