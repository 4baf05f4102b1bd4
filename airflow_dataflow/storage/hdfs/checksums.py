"""The checksum that HDFS keeps of a file, made from bytes here, so that nothing has to be read back."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable

_ALGORITHM = re.compile(r"MD5-of-\d+MD5-of-(\d+)CRC32(C?)")
_NUMBERS_BYTES = struct.calcsize(">iq")
_LEAST_BUFFER_BYTES = 32


def md5_of(data: bytes | memoryview, algorithm: str, block_bytes: int) -> bytes | None:
    """Return the MD5 of the MD5s of the checksums of a file's chunks, by which HDFS knows its content.

    :param data: the whole file.
    :param algorithm: what HDFS calls its checksum, e.g. ``MD5-of-0MD5-of-512CRC32C``.
    :param block_bytes: size of its blocks.
    :returns: ``None`` for an algorithm that is none of HDFS's usual ones.
    """
    known = _ALGORITHM.fullmatch(algorithm)
    crc = _crc(bool(known and known[2]))
    if known is None or crc is None or block_bytes < 1:
        return None
    view = memoryview(data)
    blocks = b"".join(
        _md5_of_block(bytes(view[start : start + block_bytes]), int(known[1]), crc)
        for start in range(0, len(view), block_bytes)
    )
    # Hadoop digests its whole buffer, which starts with 32 bytes and doubles, with what is not used of it.
    buffer_bytes = _LEAST_BUFFER_BYTES
    while buffer_bytes < len(blocks):
        buffer_bytes *= 2
    return _md5(blocks.ljust(buffer_bytes, b"\0"))


def md5_told(told: str, length: int) -> bytes:
    """Return the MD5 in an answer to ``GETFILECHECKSUM``, where two numbers come before it.

    :param told: ``bytes`` of the answer.
    :param length: ``length`` of the answer.
    """
    return bytes.fromhex(told)[_NUMBERS_BYTES:length]


def _md5_of_block(block: bytes, chunk_bytes: int, crc: Callable[[bytes], int]) -> bytes:
    sums = [crc(block[start : start + chunk_bytes]) for start in range(0, len(block), chunk_bytes)]
    return _md5(struct.pack(f">{len(sums)}I", *sums))


def _crc(castagnoli: bool) -> Callable[[bytes], int] | None:  # noqa: FBT001 - one of two
    if not castagnoli:
        return zlib.crc32
    try:
        import google_crc32c
    except ImportError:
        return None
    return google_crc32c.value  # type: ignore[no-any-return] # it has no types


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
