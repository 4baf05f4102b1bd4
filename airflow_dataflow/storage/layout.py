"""The layout of a folder whose files lie in packs: ``_layout.json``, which tells where the bytes of each file are.

The files of a laid-out folder, one after the other, are one stream of bytes. It is cut into objects, ``_packs/*.pack``,
and each object into frames of one size, stored as they are or compressed with Zstandard, whichever is smaller. A file
is a range of the stream, so small files share a frame and large ones run through several objects.

Readers of a :class:`~airflow_dataflow.storage.directory.Directory` see none of this. A plain file beside the packs
counts in place of a packed one of the same name.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Literal, NamedTuple, Self

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.errors import CorruptDataError

LAYOUT_NAME = "_layout.json"
PACKS_FOLDER = "_packs"
FRAME_BYTES = 1 << 20
"""Bytes of a frame before compression: what reading one byte costs."""
_LARGEST_FRAME_BYTES = 16 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PackedFile(NamedTuple):
    """One file, as a range of the stream."""

    path: str
    """Path relative to the folder, with ``/``."""
    start: Annotated[int, Field(ge=0)]
    """Place of its first byte."""
    bytes: Annotated[int, Field(ge=0)]
    """Size in bytes."""


class Frame(NamedTuple):
    """A piece of an object as it is stored."""

    bytes: Annotated[int, Field(gt=0)]
    """Its size there."""
    check: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """XXH3 of 64 bits of what is stored, so that whoever reads a part of the object knows whether it came whole."""


class Pack(_Strict):
    """One object, which holds a piece of the stream; the pieces follow each other in the order of the objects."""

    path: str = Field(pattern=rf"^{PACKS_FOLDER}/[0-9]{{6,12}}-[0-9a-f]{{16}}\.pack$")
    """Path relative to the folder."""
    bytes: int = Field(gt=0)
    """Size of the piece before compression."""
    frames: tuple[Frame, ...]
    """The frames in order; one of its full size is stored as it is."""
    digest: str = Field(pattern=r"^xxh3-128:[0-9a-f]{32}$")
    """Digest of the object as it is stored, with what follows the frames."""

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Place of each frame in the object, and the end of the last one."""
        return tuple(accumulate((frame.bytes for frame in self.frames), initial=0))


class Piece(NamedTuple):
    """A range of one object."""

    pack: int
    """Number of the object, from 0."""
    start: int
    """Place of its first byte in the object, before compression."""
    bytes: int
    """Number of bytes."""


class Layout(_Strict):
    """Where the files of a folder lie, stored in it as ``_layout.json``; written after all objects."""

    format_version: Literal[1] = 1
    frame_bytes: int = Field(default=FRAME_BYTES, gt=0, le=_LARGEST_FRAME_BYTES)
    """Bytes of a frame before compression; the last one of an object may be shorter."""
    packs: tuple[Pack, ...] = ()
    """The objects, in the order of the stream."""
    files: tuple[PackedFile, ...] = ()
    """The packed files, sorted by path."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for pack in self.packs:
            sizes = frame_sizes(pack.bytes, self.frame_bytes)
            if len(sizes) != len(pack.frames) or any(
                stored.bytes > size for stored, size in zip(pack.frames, sizes, strict=True)
            ):
                raise ValueError(f"the frames of {pack.path} do not hold {pack.bytes} bytes")
        if len({file.path for file in self.files}) != len(self.files):
            raise ValueError("a file is listed twice")
        for file in self.files:
            if file.start + file.bytes > self.starts[-1]:
                raise ValueError(f"{file.path!r} ends after the last object")
            if not is_packable(file.path):
                raise ValueError(f"{file.path!r} is no path of a packed file")
        return self

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Place of each object's first byte in the stream, and the end of the last one."""
        return tuple(accumulate((pack.bytes for pack in self.packs), initial=0))

    def pieces(self, start: int, length: int) -> Iterator[Piece]:
        """Yield the ranges of objects that hold ``length`` bytes of the stream."""
        number, end = bisect_right(self.starts, start) - 1, start + length
        while start < end:
            first, last = self.starts[number], self.starts[number + 1]
            taken = min(end, last) - start
            yield Piece(number, start - first, taken)
            start, number = start + taken, number + 1

    def without(self, paths: Iterable[str]) -> Layout:
        """Return this layout with some files fewer; their bytes stay in the objects."""
        gone = set(paths)
        return Layout(
            frame_bytes=self.frame_bytes,
            packs=self.packs,
            files=tuple(file for file in self.files if file.path not in gone),
        )

    def joined(self, other: Layout) -> Layout:
        """Return this layout with those files of another, of the same folder, that it does not have."""
        mine = {file.path for file in self.files}
        kept = [file for file in other.files if file.path not in mine]
        needed = sorted({piece.pack for file in kept for piece in other.pieces(file.start, file.bytes)})
        packs = [other.packs[number] for number in needed]
        starts = accumulate((pack.bytes for pack in packs), initial=self.starts[-1])
        # A file runs through packs that follow each other, so they still do.
        shift = {number: start - other.starts[number] for number, start in zip(needed, starts, strict=False)}
        moved = [
            file._replace(start=file.start + shift[next(other.pieces(file.start, 1)).pack] if file.bytes else 0)
            for file in kept
        ]
        return Layout(
            frame_bytes=self.frame_bytes, packs=(*self.packs, *packs), files=tuple(sorted([*self.files, *moved]))
        )

    def to_bytes(self) -> bytes:
        """Return the JSON text that is stored; equal layouts give equal bytes."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Layout:
        """Read a stored layout.

        :param data: content of ``_layout.json``.
        :param where: URL of the file, for the error message.
        :raises CorruptDataError: when it is not a layout.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise CorruptDataError(
                f"{where} is not a layout ({first['msg']}); repair the copy from another one, or remove it"
            ) from error


def frame_sizes(size: int, frame_bytes: int = FRAME_BYTES) -> list[int]:
    """Return the sizes of the frames that ``size`` bytes are cut into."""
    return [min(frame_bytes, size - start) for start in range(0, size, frame_bytes)]


def is_of_layout(path: str) -> bool:
    """Tell whether a file belongs to the layout of its folder, which readers do not see."""
    return path == LAYOUT_NAME or path.startswith(f"{PACKS_FOLDER}/")


def frame_of(stored: memoryview) -> Frame:
    """Describe a frame as it is stored."""
    return Frame(len(stored), xxhash.xxh3_64_hexdigest(stored))


def is_packable(path: str) -> bool:
    """Tell whether a file of that path may be in a pack; the manifest, by which a version is visible, never is."""
    parts = path.split("/")
    inside = not path.startswith("/") and ".." not in parts and "\0" not in path and bool(set(parts) - {"", "."})
    return inside and path != MANIFEST_NAME and not is_of_layout(path) and _is_text(path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
