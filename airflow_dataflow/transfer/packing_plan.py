"""Which bytes of which files go into which pack; the same files are always cut in the same way."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import xxhash

from airflow_dataflow.storage.layout import FRAME_BYTES, PACKS_FOLDER, PackedFile, is_packable
from airflow_dataflow.transfer.options import TransferOptions

PACK_BYTES = 32 << 20
"""Most bytes of a pack before compression; what is lost when a transfer is killed, and what one worker holds."""
_FIRST_PACK_BYTES = 1 << 20
"""The first packs are small, so that soon something is known of the link."""


@dataclass(frozen=True, kw_only=True)
class Packable:
    """A file that is to be packed."""

    path: str
    """Path below the target."""
    bytes: int
    """Size in bytes."""
    source_path: str
    """Path below the source."""
    digest: str | None = None
    """What its manifest says of its content; ``None`` where nothing does."""
    stamp: str | None = None
    """What pins the source, see :meth:`Backend.stamp`."""


class _HasBytes(Protocol):
    @property
    def bytes(self) -> int: ...

    @property
    def path(self) -> str: ...


File = TypeVar("File", bound=_HasBytes)


def to_pack(files: Iterable[File], options: TransferOptions) -> tuple[list[File], list[File]]:
    """Divide files into those that go into packs, and those that the target gets as they are.

    :param options: with ``compress``, all files go into packs, since readers could not read them otherwise; with
        ``pack``, small ones do.
    """
    packed: list[File] = []
    plain: list[File] = []
    for file in files:
        wanted = options.compress != "off" or (options.pack and file.bytes < options.pack_below_bytes)
        (packed if wanted and is_packable(file.path) else plain).append(file)
    return packed, plain


class FilePiece(NamedTuple):
    """A range of a file, and where it goes in its pack."""

    file: int
    """Number of the file."""
    start: int
    """Place of the first byte in the file."""
    bytes: int
    """Number of bytes."""
    place: int
    """Place of the first byte in the pack, before compression."""


@dataclass(frozen=True)
class PackPlan:
    """What goes into one pack."""

    number: int
    """Place of the pack, from 0."""
    bytes: int
    """Bytes before compression."""
    pieces: tuple[FilePiece, ...]
    """Ranges of files, in order."""
    content: str
    """What says which bytes these are: equal for equal ranges of files with equal digests or pins."""

    @property
    def path(self) -> str:
        """Path below the target; other content has another path, so that no pack that is in use is written over."""
        return f"{PACKS_FOLDER}/{self.number + 1:06}-{self.content[:16]}.pack"


def plan_packs(files: Sequence[Packable]) -> list[PackPlan]:
    """Cut files into packs."""
    return list(_cut(files))


def packed_files(files: Sequence[Packable]) -> tuple[PackedFile, ...]:
    """Return where each file lies in the stream of all packs, sorted by path."""
    found, start = [], 0
    for file in files:
        found.append(PackedFile(file.path, start, file.bytes))
        start += file.bytes
    return tuple(sorted(found))


def _cut(files: Sequence[Packable]) -> Iterator[PackPlan]:
    pieces: list[FilePiece] = []
    number, filled = 0, 0
    for index, file in enumerate(files):
        start = 0
        while start < file.bytes:
            taken = min(file.bytes - start, _size_of(number) - filled)
            pieces.append(FilePiece(index, start, taken, filled))
            start, filled = start + taken, filled + taken
            if filled == _size_of(number):
                yield _plan(number, filled, pieces, files)
                number, filled, pieces = number + 1, 0, []
    if pieces:
        yield _plan(number, filled, pieces, files)


def _size_of(number: int) -> int:
    return min(PACK_BYTES, _FIRST_PACK_BYTES << min(number, 10))


def _plan(number: int, size: int, pieces: list[FilePiece], files: Sequence[Packable]) -> PackPlan:
    said = [(files[piece.file].path, _identity(files[piece.file]), piece.start, piece.bytes) for piece in pieces]
    content = xxhash.xxh3_128_hexdigest(json.dumps([FRAME_BYTES, said]).encode())
    return PackPlan(number, size, tuple(pieces), content)


def _identity(file: Packable) -> str:
    # Without either nobody can say that two attempts read the same bytes, so they share nothing.
    return file.digest or file.stamp or uuid.uuid4().hex
