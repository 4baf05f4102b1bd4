"""Reading files out of packs, by ranges, with few requests."""

from __future__ import annotations

import io
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import groupby
from typing import Any, BinaryIO, cast

import xxhash
import zstandard

from airflow_dataflow.errors import CorruptDataError, SourceChangedError
from airflow_dataflow.storage.backends import Backend, errors_explained
from airflow_dataflow.storage.layout import Layout, frame_of

log = logging.getLogger(__name__)

_KEPT_FRAMES = 24
"""Frames that stay in memory after they were read; small files that lie side by side are mostly read together."""
_FRAMES_AHEAD = 8
"""Frames that one request asks for when somebody reads frame after frame."""
_BUFFER_BYTES = 64 << 10
PACKED_STAMP = "packed:"
"""What the stamps of packed files begin with."""

_Key = tuple[int, int]


class Packs:
    """The packed files of a folder; safe to use from several threads.

    :param layout: where they lie.
    :param backend: what reads the objects.
    :param root: path of the folder on the file system.
    :param url: URL of the folder, for messages.
    """

    def __init__(self, layout: Layout, backend: Backend, root: str, url: str) -> None:
        self.layout = layout
        self._backend = backend
        self._root = root.rstrip("/")
        self._url = url
        self.files = {file.path: file for file in layout.files}
        """The files by path."""
        self.is_own = True
        """Whether the layout is that of the folder itself, and not of one above it."""
        self._lock = threading.Lock()
        self._frames: OrderedDict[_Key, Future[bytes]] = OrderedDict()
        self._next: deque[_Key] = deque(maxlen=16)

    def stamp(self, path: str) -> str:
        """Return what differs when the layout says something else about a file, or its objects are others."""
        file = self.files[path]
        digests = [self.layout.packs[piece.pack].digest for piece in self.layout.pieces(file.start, file.bytes)]
        return f"{PACKED_STAMP}{xxhash.xxh3_128_hexdigest(repr((file.start, file.bytes, digests)).encode())}"

    def check_pin(self, path: str, pin: str | None) -> None:
        """Make sure that a file is what it was when :meth:`stamp` returned ``pin``.

        :raises SourceChangedError: when it is not.
        """
        if pin is not None and self.stamp(path) != pin:
            raise SourceChangedError(
                f"{self._url}/{path} was packed anew while it was being copied; run the transfer again"
            )

    def below(self, folder: str) -> Packs | None:
        """Return the packed files below a folder, by their paths there, ``None`` when there are none."""
        prefix = f"{folder}/"
        found = {path.removeprefix(prefix): file for path, file in self.files.items() if path.startswith(prefix)}
        if not found:
            return None
        packs = Packs(self.layout, self._backend, self._root, self._url)
        packs.files = found
        packs.is_own = False
        return packs

    def objects(self, path: str) -> list[str]:
        """Return the paths of the objects that hold a file, relative to the folder."""
        file = self.files[path]
        return [self.layout.packs[piece.pack].path for piece in self.layout.pieces(file.start, file.bytes)]

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return cast(BinaryIO, io.BufferedReader(_PackedReader(self, path), _BUFFER_BYTES))

    def read(self, path: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        """Return bytes of a file; fewer where it ends.

        :param pin: see :meth:`check_pin`.
        :raises CorruptDataError: when an object is missing or damaged.
        """
        self.check_pin(path, pin)
        file = self.files[path]
        start = min(start, file.bytes)
        return self._stream(file.start + start, min(length, file.bytes - start))

    def _stream(self, start: int, length: int) -> bytes:
        frame_bytes = self.layout.frame_bytes
        found: list[bytes | memoryview] = []
        for piece in self.layout.pieces(start, length):
            first, end = piece.start // frame_bytes, -(-(piece.start + piece.bytes) // frame_bytes)
            frames = self._read_frames(piece.pack, first, end)
            skipped = piece.start - first * frame_bytes
            left = piece.bytes
            for frame in frames:
                taken = min(left, len(frame) - skipped)
                found.append(memoryview(frame)[skipped : skipped + taken] if taken < len(frame) else frame)
                left, skipped = left - taken, 0
        return found[0] if len(found) == 1 and isinstance(found[0], bytes) else b"".join(found)

    def _read_frames(self, pack: int, first: int, end: int) -> list[bytes]:
        """Return frames of an object: those of memory, those that another thread is reading, and the others."""
        with self._lock:
            mine = [number for number in range(first, end) if (pack, number) not in self._frames]
            if mine and (pack, mine[0]) in self._next:
                last = min(mine[0] + _FRAMES_AHEAD, len(self.layout.packs[pack].frames))
                ahead = range(max(end, mine[-1] + 1), last)
                mine += [number for number in ahead if (pack, number) not in self._frames]
            made = {number: self._frames.setdefault((pack, number), Future()) for number in mine}
            wanted = [self._frames[pack, number] for number in range(first, end)]
            for number in range(first, end):
                self._frames.move_to_end((pack, number))
            if mine:
                self._next.append((pack, mine[-1] + 1))
        try:
            for run in _runs(mine):
                for number, frame in zip(run, self._fetch(pack, run), strict=True):
                    made[number].set_result(frame)
        except BaseException as error:
            self._give_up(pack, made, error)
            raise
        finally:
            self._forget_old()
        return [future.result() for future in wanted]

    def _give_up(self, pack: int, made: dict[int, Future[bytes]], error: BaseException) -> None:
        with self._lock:
            for number, future in made.items():
                if not future.done():
                    self._frames.pop((pack, number), None)
                    future.set_exception(error)

    def _forget_old(self) -> None:
        with self._lock:
            for key in [key for key, future in self._frames.items() if future.done()]:
                if len(self._frames) <= _KEPT_FRAMES:
                    break
                del self._frames[key]

    def _fetch(self, pack: int, numbers: Sequence[int]) -> Iterator[bytes]:
        """Read frames that lie side by side by one request."""
        described = self.layout.packs[pack]
        offsets = described.offsets
        begin, end = offsets[numbers[0]], offsets[numbers[-1] + 1]
        path = f"{self._root}/{described.path}"
        frames = [(offsets[number] - begin, described.frames[number]) for number in numbers]
        for is_last in (False, True):
            with self._missing_is_damage(described.path), errors_explained(described.path, self._backend, path):
                stored = memoryview(self._backend.read_range(path, begin, end - begin))
            if len(stored) != end - begin:
                raise self._damaged(described.path, f"it ends {end - begin - len(stored):,} bytes too early")
            if all(frame_of(stored[start : start + frame.bytes]) == frame for start, frame in frames):
                break
            if is_last:
                raise self._damaged(described.path, f"bytes {begin:,} to {end:,} are not what was written there")
            log.warning("%s/%s came damaged from its store; reading it again", self._url, described.path)
        for number in numbers:
            data = stored[offsets[number] - begin : offsets[number + 1] - begin]
            size = min(self.layout.frame_bytes, described.bytes - number * self.layout.frame_bytes)
            yield bytes(data) if len(data) == size else self._decompress(described.path, data, size)

    def _decompress(self, path: str, data: memoryview, size: int) -> bytes:
        try:
            # What the frame says of its size is looked at first: a damaged one could ask for all memory.
            if zstandard.frame_content_size(data) == size:
                return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
        except zstandard.ZstdError as error:
            raise self._damaged(path, str(error)) from error
        raise self._damaged(path, f"a frame does not hold {size:,} bytes")

    @contextmanager
    def _missing_is_damage(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._damaged(path, "it is missing") from error

    def _damaged(self, path: str, why: str) -> CorruptDataError:
        return CorruptDataError(f"{self._url}/{path} is damaged ({why}); restore what it holds from another copy")


class _PackedReader(io.RawIOBase):
    """A packed file that is open for reading."""

    def __init__(self, packs: Packs, path: str) -> None:
        super().__init__()
        self._packs = packs
        self._path = path
        self._bytes = packs.files[path].bytes
        self._at = 0

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self._packs.read(self._path, self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Read all that is left."""
        data = self._packs.read(self._path, self._at, self._bytes)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``."""
        return True


def _runs(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers in groups that have no gaps."""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        yield [number for _, number in run]
