"""Digests of files: XXH3 with 128 bits, written as ``xxh3-128:`` and 32 hexadecimal digits.

The digest finds accidents (a truncated copy, a flipped bit); it is no defence against forgery.
"""

from __future__ import annotations

from typing import BinaryIO

import xxhash

CHUNK_BYTES = 1 << 20


class Digest:
    """A digest in the making."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next bytes."""
        self._hash.update(data)

    def __str__(self) -> str:
        return f"xxh3-128:{self._hash.hexdigest()}"


def digest_of(file: BinaryIO) -> tuple[str, int]:
    """Read ``file`` to its end and return its digest and its size in bytes."""
    digest = Digest()
    size = 0
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return str(digest), size
