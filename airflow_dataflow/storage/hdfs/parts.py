"""Files that go to HDFS in parts: a hidden file each, which the NameNode joins in the end without moving a byte."""

from __future__ import annotations

import logging
import posixpath
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.storage.backends.local import is_partial
from airflow_dataflow.storage.digest import Digest, digest_of
from airflow_dataflow.storage.hdfs.checksums import checksum_with_blocks, even_blocks, file_checker
from airflow_dataflow.storage.hdfs.faults import HdfsServerError, UnreachableError
from airflow_dataflow.storage.hdfs.files import rename
from airflow_dataflow.storage.parts import DamagedError, LostUploadError, Parts, Upload, sealed, unsealed

if TYPE_CHECKING:
    from airflow_dataflow.storage.hdfs.client import Entry
    from airflow_dataflow.storage.hdfs.filesystem import HdfsFileSystem

log = logging.getLogger(__name__)

_LEAST_PART_BYTES, _MOST_PART_BYTES = 32 << 20, 64 << 20
_MANY_PARTS = 256
_ID_DIGITS, _NUMBER_DIGITS = 24, 8
_HANDLE = re.compile(rf"([0-9a-f]{{{_ID_DIGITS}}}) (\d{{1,19}}) ([1-9]\d{{0,18}})", re.ASCII)
_REQUEST_LETTERS = 6000
"""Gateways take no longer lines."""
_COPY_BYTES = 8 << 20
_REFUSALS = (HdfsServerError, UnreachableError, MissingPackageError)


class HdfsUpload(Upload):
    """Parts that lie beside their target under names that listings leave out.

    Their names differ in the last digits only, so that a sweep knows the parts of one upload from those of another.
    The NameNode joins them by CONCAT, which works in one folder, and neither in an encryption zone nor with files of a
    snapshot; there they are copied into one file.

    :param fs: the file system.
    :param path: the target.
    :param identifier: the digits that the names of all parts begin with.
    :param parts: where its parts lie.
    """

    verifies = True

    def __init__(self, fs: HdfsFileSystem, path: str, identifier: str, parts: Parts) -> None:
        self._fs = fs
        self._path = path
        self._identifier = identifier
        self._parts = parts
        self._whole: Entry | None = None

    @classmethod
    def begin(cls, fs: HdfsFileSystem, path: str, parts: Parts) -> HdfsUpload:
        """Return a new upload; nothing of it is on HDFS before its first part."""
        return cls(fs, path, uuid.uuid4().hex[:_ID_DIGITS], parts)

    @classmethod
    def resume(cls, fs: HdfsFileSystem, path: str, handle: str) -> HdfsUpload | None:
        """Return the upload of ``path`` that has this handle, ``None`` when nothing is left of it."""
        words = _HANDLE.fullmatch(unsealed(path, handle) or "")
        if words is None:
            return None
        upload = cls(fs, path, words[1], Parts(int(words[2]), int(words[3])))
        return upload if upload._there() else None

    @property
    def handle(self) -> str:
        """How the names of its parts begin, its size, and that of its parts."""
        return sealed(self._path, self._identifier, self._parts.size, self._parts.part_bytes)

    def put(self, number: int, data: bytes | memoryview) -> str:
        """Write a part whole or not at all, see :func:`put_whole`; the token is its digest."""
        self._parts.check(number, len(data))
        put_whole(self._fs, self._part(number), data)
        return _digest(data)

    def read(self, number: int) -> bytes:
        """Return what HDFS has of a part; nothing when it is gone."""
        length = self._parts.length(number)
        for path, start in ((self._part(number), 0), (self._part(0), self._parts.start(number))):
            with suppress(FileNotFoundError):
                return self._fs.read_range(path, start, length)
        return b""

    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Join the parts, and let the whole take the place of its target.

        :raises LostUploadError: when a part is gone; the rest is removed, so that the next attempt begins anew.
        """
        self._parts.check_all(len(tokens))
        if self._is_published():
            return
        joined = self._joined()
        while joined < len(tokens):
            until = self._end_of_request(joined)
            if not self._concat(joined, until):
                self._copy_together(joined, tokens)
                until = len(tokens)
            joined = until
        self._whole = self._fs.client.info(self._part(0))
        if self._whole.bytes != self._parts.size:
            raise self._lost(f"has {self._whole.bytes:,} of its {self._parts.size:,} bytes")
        rename(self._fs.client, self._whole, self._path, overwrite=not exclusive)

    def discard(self) -> None:
        """Remove all parts."""
        for path in self._there():
            self._fs.client.delete(path, recursive=False)

    # on the way -------------------------------------------------------------------------------

    def _part(self, number: int) -> str:
        name = f".{self._identifier}{number:0{_NUMBER_DIGITS}x}.partial"
        return posixpath.join(posixpath.dirname(self._path), name)

    def _there(self) -> list[str]:
        """Return the paths of the parts that are there."""
        try:
            entries = self._fs.client.children(posixpath.dirname(self._path))
        except FileNotFoundError:
            return []
        names = {entry.path: posixpath.basename(entry.path) for entry in entries if not entry.is_folder}
        return [path for path, name in names.items() if is_partial(name) and group_of(name) == self._identifier]

    def _is_published(self) -> bool:
        """Tell whether a rename worked of which nobody has told us."""
        if self._whole is None:
            return False
        try:
            there = self._fs.client.info(self._path)
        except FileNotFoundError:
            return False
        now, then = (there.bytes, there.modified_milliseconds), (self._whole.bytes, self._whole.modified_milliseconds)
        return now == then and not self._there()

    def _end(self, number: int) -> int:
        return self._parts.start(number) + self._parts.length(number)

    def _joined(self) -> int:
        """Return how many parts are in the first file; more than one, when an earlier attempt ended on the way."""
        length = self._length()
        joined = -(-length // self._parts.part_bytes)
        if not 1 <= joined <= self._parts.count or length != self._end(joined - 1):
            raise self._lost(f"has {length:,} bytes in its first part")
        if joined > 1 and set(self._there()) & {self._part(number) for number in range(1, joined)}:
            raise self._lost("was changed after its parts had been joined")
        return joined

    def _length(self) -> int:
        try:
            return self._fs.client.info(self._part(0)).bytes
        except FileNotFoundError:
            raise self._lost("has lost its first part") from None

    def _end_of_request(self, start: int) -> int:
        """Return the number of the first part that does not go into one request with part ``start``."""
        letters = len(quote(self._part(0), safe="")) + len("%2C")
        return min(self._parts.count, start + max(1, _REQUEST_LETTERS // letters))

    def _concat(self, start: int, end: int) -> bool:
        """Join parts to the first one; ``False`` where HDFS refuses to."""
        if "," in self._path:
            # The request takes a list that commas part.
            return False
        sources = ",".join(self._part(number) for number in range(start, end))
        try:
            self._fs.web.call("POST", "CONCAT", self._part(0), sources=sources)
        except FileNotFoundError as error:
            # A NameNode that died after it had done so, and before it said so, is asked once more.
            if self._length() != self._end(end - 1):
                raise self._lost("has lost some of its parts") from error
        except _REFUSALS as error:
            if self._length() != self._end(end - 1):
                log.info("the parts of %s are copied together, as HDFS does not join them: %s", self._path, error)
                return False
        return True

    def _copy_together(self, start: int, tokens: Sequence[str]) -> None:
        """Make the first file anew, out of itself and all parts from ``start`` on, and read it back."""
        digest = Digest()
        numbers = (0, *range(start, len(tokens)))
        with self._fs.writer(self._part(0), exclusive=False, autocommit=True) as writer:
            for number in numbers:
                part = Digest()
                for piece in self._pieces(number):
                    part.update(piece)
                    digest.update(piece)
                    writer.write(piece)
                if (number or start == 1) and str(part) != tokens[number]:
                    raise DamagedError(f"part {number} of {self._path} is not as it was written: it is read again")
        whole = Digest()
        for piece in self._pieces(0):
            whole.update(piece)
        if str(whole) != str(digest):
            raise self._lost("reads back differently")
        for number in numbers[1:]:
            self._fs.client.delete(self._part(number), recursive=False)

    def _pieces(self, number: int) -> Iterator[bytes]:
        try:
            with self._fs.open(self._part(number), "rb") as reader:
                while piece := reader.read(_COPY_BYTES):
                    yield piece
        except FileNotFoundError as error:
            raise self._lost("has lost some of its parts") from error

    def _lost(self, what: str) -> LostUploadError:
        with suppress(OSError):
            self.discard()
        return LostUploadError(f"the unfinished {self._path} {what}; it has to be begun again")


def part_bytes_of(size: int) -> int:
    """Return the size of parts for a file: a part is a block, and a NameNode keeps all blocks in memory."""
    part = _LEAST_PART_BYTES
    while part < _MOST_PART_BYTES and size > _MANY_PARTS * part:
        part *= 2
    return part


def group_of(name: str) -> str:
    """Return what the names of hidden files have in common that belong to one upload."""
    return name[1 : 1 + _ID_DIGITS]


def put_whole(fs: HdfsFileSystem, path: str, data: bytes | memoryview) -> Entry:
    """Write a file from memory, and describe it; it takes its place when HDFS has proved that it arrived unharmed.

    Hadoop's own protocol carries a checksum with each 512 bytes, and a DataNode refuses what does not fit. WebHDFS
    carries none, so the checksum that HDFS has made of the file is compared with our own, or the file is read back.

    :raises DamagedError: when it arrived damaged.
    """
    writer = fs.writer(path, exclusive=False, autocommit=False)
    try:
        writer.write(data)
        writer.close()
        if not writer.is_checked:
            _check(fs, writer.partial, data)
        return writer.commit()
    except BaseException:
        writer.discard()
        raise


def _check(fs: HdfsFileSystem, path: str, data: bytes | memoryview) -> None:
    if not data:
        return
    blocks = even_blocks(len(data), fs.client.info(path).block_bytes)
    try:
        check = file_checker(checksum_with_blocks(fs.web.checksum(path), blocks))
    except HdfsServerError as error:
        log.info("HDFS tells no checksum of %s (%s); it is read back", path, error)
        check = None
    if check is not None:
        check.update(data)
        if check.matches():
            return
    # Files that are encrypted or erasure coded have another one.
    with fs.open(path, "rb") as reader:
        if digest_of(reader)[0] != _digest(data):
            raise DamagedError(f"{path} arrived damaged on HDFS: send it again")


def _digest(data: bytes | memoryview) -> str:
    digest = Digest()
    digest.update(data)
    return str(digest)
