"""Checksums that stores keep of files, recomputed while the bytes pass.

They are written as the kind and the value in hexadecimal digits: ``md5:…``, ``crc32:…``, ``crc32c:…``, ``crc64nvme:…``,
``crc64ecma:…``, and ``md5-parts:…-7:16777216`` for S3's digest of the digests of 7 parts of 16 MiB,
``md5-parts:…-7:16777216|17000000|?`` where the server does not tell whether they have one of these sizes or another.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache

from airflow_dataflow.errors import MissingPackageError

_KNOWN = re.compile(
    r"(md5):([0-9a-f]{32})|(md5-parts):([0-9a-f]{32}-[1-9]\d{0,4}:[1-9]\d{0,18}(?:\|[1-9]\d{0,18})*(?:\|\?)?)"
    r"|(crc32c?):([0-9a-f]{8})|(crc64nvme|crc64ecma):([0-9a-f]{16})",
    re.ASCII,
)
_NVME = {"poly": 0x1AD93D23594C93659, "initCrc": 0, "xorOut": 0xFFFFFFFFFFFFFFFF}
_ECMA = {"poly": 0x142F0E1EBA9EA3693, "initCrc": 0, "xorOut": 0xFFFFFFFFFFFFFFFF}


class Checker(ABC):
    """Compares bytes with a checksum."""

    is_sure: bool = True
    """Whether bytes that do not match it are surely others; otherwise nobody knows how it was made."""

    @abstractmethod
    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes of the file."""

    def ahead(self, start: int, data: bytes | memoryview) -> None:
        """Do what can be done with bytes before it is their turn to be added; safe to call from several threads.

        :param start: their place in the file; the same object is given to :meth:`update` when its turn has come.
        """
        del start, data

    @abstractmethod
    def matches(self) -> bool:
        """Tell whether the bytes that were added have the checksum."""


def checker(checksum: str | None) -> Checker | None:
    """Return what compares bytes with a checksum; ``None`` if its kind is not known, or its package not installed."""
    from airflow_dataflow.storage.hdfs.checksums import file_checker

    known = _KNOWN.fullmatch(checksum or "")
    if known is None:
        return file_checker(checksum or "")
    kind, value = (word for word in known.groups() if word is not None)
    if kind == "md5":
        return _Md5(value)
    if kind == "md5-parts":
        digest, _, sizes = value.partition(":")
        ways = [_Md5OfParts(digest, int(size)) for size in sizes.removesuffix("|?").split("|")]
        return _OneOf(ways) if sizes.endswith("?") else ways[0]
    try:
        return _Crc(_crc(kind), value)
    except MissingPackageError:
        return None


class _Md5(Checker):
    def __init__(self, value: str) -> None:
        self._value = value
        self._hash = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes | memoryview) -> None:
        self._hash.update(data)

    def matches(self) -> bool:
        return self._hash.hexdigest() == self._value


class _Md5OfParts(Checker):
    """The digest of the digests of parts, however the bytes are cut when they are added."""

    def __init__(self, value: str, part_bytes: int) -> None:
        self._value = value
        self._part_bytes = self._left = part_bytes
        self._part = hashlib.md5(usedforsecurity=False)
        self._digests: list[bytes] = []
        self._position = 0
        self._ahead: dict[int, tuple[object, dict[int, bytes]]] = {}
        """Digests of parts by their place, of the bytes whose turn has not come, by theirs."""

    def ahead(self, start: int, data: bytes | memoryview) -> None:
        digests = {}
        view = memoryview(data)
        for place in range(-start % self._part_bytes, len(view) - self._part_bytes + 1, self._part_bytes):
            part = view[place : place + self._part_bytes]
            digests[start + place] = hashlib.md5(part, usedforsecurity=False).digest()
        self._ahead[start] = (data, digests)

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        same, digests = self._ahead.pop(self._position, (None, {}))
        while view:
            piece, view = view[: self._left], view[self._left :]
            digest = digests.get(self._position) if same is data else None
            self._position += len(piece)
            self._left -= len(piece)
            if digest is None:
                self._part.update(piece)
            if not self._left:
                self._end_part(digest)

    def _end_part(self, digest: bytes | None) -> None:
        self._digests.append(digest or self._part.digest())
        self._part, self._left = hashlib.md5(usedforsecurity=False), self._part_bytes

    def matches(self) -> bool:
        digests = list(self._digests)
        if self._left < self._part_bytes:
            digests.append(self._part.digest())
        return md5_of_parts(digests) == self._value


class _OneOf(Checker):
    """A checksum that was made in one of several ways, or in yet another."""

    is_sure = False

    def __init__(self, ways: list[_Md5OfParts]) -> None:
        self._ways = ways

    def ahead(self, start: int, data: bytes | memoryview) -> None:
        for way in self._ways:
            way.ahead(start, data)

    def update(self, data: bytes | memoryview) -> None:
        for way in self._ways:
            way.update(data)

    def matches(self) -> bool:
        return any(way.matches() for way in self._ways)


class _Crc(Checker):
    def __init__(self, extend: Callable[[int, bytes | memoryview], int], value: str) -> None:
        self._extend = extend
        self._value = int(value, 16)
        self._crc = 0

    def update(self, data: bytes | memoryview) -> None:
        self._crc = self._extend(self._crc, data)

    def matches(self) -> bool:
        return self._crc == self._value


def md5_of_parts(digests: list[bytes]) -> str:
    """Return what S3 takes for the digest of an object that was sent in parts with these MD5 digests."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of bytes.

    :raises MissingPackageError: when the package google-crc32c is not installed.
    """
    return _crc("crc32c")(0, data)


def crc64ecma(data: bytes | memoryview) -> int:
    """Return the CRC-64 of ECMA-182, reflected, which OSS keeps.

    :raises MissingPackageError: when the package crcmod is not installed.
    """
    return _crc("crc64ecma")(0, data)


@cache
def _crc(kind: str) -> Callable[[int, bytes | memoryview], int]:
    """Return what extends a CRC by bytes."""
    try:
        if kind == "crc32":
            return lambda crc, data: zlib.crc32(data, crc)
        if kind == "crc32c":
            import google_crc32c

            # Its C code takes nothing but bytes.
            return lambda crc, data: int(google_crc32c.extend(crc, bytes(data)))
        import crcmod
    except ImportError as error:
        raise MissingPackageError(
            f"checksums of the kind {kind} need a package that is not installed: {error}"
        ) from error
    extend = crcmod.mkCrcFun(**(_NVME if kind == "crc64nvme" else _ECMA), rev=True)
    return lambda crc, data: int(extend(bytes(data), crc))
