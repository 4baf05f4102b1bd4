"""The checksum that HDFS keeps of a file, made from bytes here, so that nothing has to be read back.

HDFS keeps a CRC of each chunk of, mostly, 512 bytes. The MD5 of those of a block, and the MD5 of the MD5s of all blocks
are what it tells of a file. So whoever makes it from bytes has to know how long the blocks are.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, repeat

from airflow_dataflow.storage.checksums import Checker

_ALGORITHM = re.compile(r"MD5-of-\d{1,18}MD5-of-(\d{1,9})CRC32(C?)", re.ASCII)
_BLOCKS = re.compile(r"\d{1,9}x\d{1,18}(?:\+\d{1,9}x\d{1,18})*", re.ASCII)
_NUMBERS_BYTES = struct.calcsize(">iq")
_LEAST_BUFFER_BYTES = 32


class FileSum(Checker):
    """Compares bytes with the MD5 that HDFS tells of a file.

    :param algorithm: what HDFS calls its checksum, e.g. ``MD5-of-0MD5-of-512CRC32C``.
    :param told: the bytes of the checksum: two numbers and the MD5.
    :param blocks: sizes of the file's blocks.
    """

    def __init__(self, algorithm: str, told: bytes, blocks: Iterable[int]) -> None:
        known = _ALGORITHM.fullmatch(algorithm)
        if known is None:
            raise ValueError(f"no way to make {algorithm!r} from bytes")
        self._chunk_bytes = int(known[1])
        self._crc = _crc32c() if known[2] else zlib.crc32
        self._md5 = told[_NUMBERS_BYTES:]
        self._blocks = iter(blocks)
        self._left = next(self._blocks, 0)
        self._rest = b""
        self._sums: list[int] = []
        self._digests: list[bytes] = []

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes of the file."""
        view = memoryview(data)
        while view and self._left:
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            self._add(self._rest + bytes(piece))
            if not self._left:
                self._end_block()
        # More bytes than the blocks have are another file.
        self._rest += bytes(view)

    def matches(self) -> bool:
        """Tell whether the bytes that were added are the file's."""
        if self._left or self._rest:
            return False
        digests = b"".join(self._digests)
        # Hadoop digests its whole buffer, which starts with 32 bytes and doubles, with what is not used of it.
        buffer_bytes = _LEAST_BUFFER_BYTES
        while buffer_bytes < len(digests):
            buffer_bytes *= 2
        return _md5(digests.ljust(buffer_bytes, b"\0")) == self._md5

    def _add(self, data: bytes) -> None:
        size, crc = self._chunk_bytes, self._crc
        end = len(data) if not self._left else len(data) - len(data) % size
        self._sums += [crc(data[start : start + size]) for start in range(0, end, size)]
        self._rest = data[end:]

    def _end_block(self) -> None:
        self._digests.append(_md5(struct.pack(f">{len(self._sums)}I", *self._sums)))
        self._sums = []
        self._left = next(self._blocks, 0)


def file_checker(checksum: str) -> FileSum | None:
    """Return what compares bytes with a checksum, ``None`` unless it is one of HDFS that names the file's blocks.

    :param checksum: what :func:`checksum_with_blocks` returned.
    """
    algorithm, _, rest = checksum.partition(":")
    told, _, blocks = rest.partition(":")
    if _BLOCKS.fullmatch(blocks) is None:
        return None
    try:
        return FileSum(algorithm, bytes.fromhex(told), _expanded(blocks))
    except (ImportError, ValueError):
        return None


def checksum_with_blocks(checksum: str, blocks: Iterable[int]) -> str:
    """Return a checksum of HDFS together with the sizes of the file's blocks, from which it can be made again."""
    return f"{checksum}:" + "+".join(f"{len(list(same))}x{size}" for size, same in groupby(blocks))


def even_blocks(size: int, block_bytes: int) -> list[int]:
    """Return the sizes of the blocks of a file that was written at once."""
    whole, rest = divmod(size, block_bytes)
    return [block_bytes] * whole + [rest] * bool(rest)


def _expanded(blocks: str) -> Iterator[int]:
    pairs = (item.split("x") for item in blocks.split("+"))
    return chain.from_iterable(repeat(int(size), int(count)) for count, size in pairs)


def _crc32c() -> Callable[[bytes], int]:
    import google_crc32c

    return google_crc32c.value  # type: ignore[no-any-return] # it has no types


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
