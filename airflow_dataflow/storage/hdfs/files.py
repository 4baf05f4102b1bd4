"""Files that outlive the death of a NameNode or DataNode while they are written or read."""

from __future__ import annotations

import io
import logging
import posixpath
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_dataflow.errors import TransferError
from airflow_dataflow.storage.hdfs.faults import FileHeldError, HdfsServerError, UnreachableError

if TYPE_CHECKING:
    from airflow_dataflow.storage.hdfs.client import Entry, HdfsClient, Sink, Source

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
_KEPT_BYTES = 32 << 20
_FIRST_SPAN_BYTES, _LONGEST_SPAN_BYTES = 4 << 20, 1 << 30
_LEASE_SECONDS = 90.0
"""A NameNode leaves a writer that is gone its file for a minute, unless it is asked by Hadoop's own protocol."""
_DATANODES_SECONDS = 30.0
"""How long to look for a DataNode that answers; the NameNode notices late that one is gone."""
_PAUSE_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
_TRIES = 5
_BROKEN = (UnreachableError, HdfsServerError, FileHeldError)

Result = TypeVar("Result")


class Window:
    """The last bytes of a stream, in pieces.

    :param start: position of the first byte to come.
    """

    def __init__(self, start: int = 0) -> None:
        self._pieces: deque[bytes] = deque()
        self.start = start
        """Position of the first byte that is kept."""
        self.end = start
        """Position after the last byte."""

    def add(self, piece: bytes) -> None:
        """Add bytes, and forget the oldest."""
        self._pieces.append(piece)
        self.end += len(piece)
        while self.end - self.start - len(self._pieces[0]) >= _KEPT_BYTES:
            self.start += len(self._pieces.popleft())

    def since(self, position: int) -> Iterator[bytes]:
        """Yield the bytes from ``position`` on."""
        begin = self.start
        for piece in tuple(self._pieces):
            end = begin + len(piece)
            if end > position:
                yield piece[max(0, position - begin) :]
            begin = end


class HdfsWriter(io.RawIOBase):
    """A file beside its target, which takes its place when it is whole.

    A connection that breaks is no error: what HDFS has got of the file is looked up, and the rest sent again from
    memory, where the last 32 MiB are kept. A file that is all in memory begins anew.

    :param client: the way to HDFS.
    :param path: the target.
    :param exclusive: refuse to replace a file.
    :param autocommit: take the place when the file is closed; otherwise :meth:`commit` does it.
    :param patience_seconds: how long to try again.
    :param other_way: another way to HDFS, for a file that does not get on by ``client``.
    """

    def __init__(
        self,
        client: HdfsClient,
        path: str,
        *,
        exclusive: bool,
        autocommit: bool,
        patience_seconds: float,
        other_way: HdfsClient | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self._client = client
        self._exclusive = exclusive
        self._autocommit = autocommit
        self._patience_seconds = patience_seconds
        self._waiting = bytearray()
        self._window = Window()
        self._partials: list[str] = []
        self._sink: Sink | None = None
        self._delivered = 0
        self._other_way = other_way
        self._refusals = 0
        self.is_checked = True
        """Whether all bytes went a way on which HDFS refuses those that arrive damaged."""

    # what a file can do -----------------------------------------------------------------------

    @property
    def partial(self) -> str:
        """Path under which a file that is closed lies until :meth:`commit`."""
        return self._partials[-1]

    def writable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._window.end + len(self._waiting)

    def write(self, data: Any) -> int:
        """Write ``data`` (any buffer) as a whole, and return its size in bytes."""
        view = memoryview(data).cast("B")
        if not self._waiting and len(view) >= PIECE_BYTES:
            # Bytes never change, so they need no copy to be kept.
            whole = view.obj
            self._push(whole if isinstance(whole, bytes) and len(whole) == len(view) else bytes(view))
            return len(view)
        self._waiting += view
        if len(self._waiting) >= PIECE_BYTES:
            self._push_waiting()
        return len(view)

    def close(self) -> None:
        """Finish the file; with ``autocommit`` it takes its place."""
        if self.closed:
            return
        try:
            self._push_waiting()
            self._lasting(self._finish)
            if self._autocommit:
                self.commit()
        except BaseException:
            self.discard()
            raise
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Close the file, or forget it when its block failed: half a file must not look like a whole one."""
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if not self.closed:
            with suppress(Exception):
                self.discard()

    def commit(self) -> Entry:
        """Let the finished file take the place of its target, and describe it.

        :raises FileExistsError: when ``exclusive``, and the target is there.
        """
        partial = self._partials[-1]
        written = self._client.info(partial)
        if written.bytes != self._window.end:
            raise TransferError(f"{self.path} has {written.bytes:,} bytes on HDFS, but {self._window.end:,} were sent")
        rename(self._client, written, self.path, overwrite=not self._exclusive)
        self._partials.pop()
        self._remove_partials()
        self._window = Window(self._window.end)
        return written

    def discard(self) -> None:
        """Forget the file, and leave what is in its place."""
        with suppress(Exception):
            self._drop_sink()
        self._remove_partials()
        self._window = Window(self._window.end)
        super().close()

    # on the way -------------------------------------------------------------------------------

    def _push_waiting(self) -> None:
        if self._waiting:
            self._push(bytes(self._waiting))
            self._waiting.clear()

    def _push(self, piece: bytes) -> None:
        self._window.add(piece)
        # A file of one piece is begun when its end is known, so that a small one is one short request.
        if self._sink is not None or self._window.end > PIECE_BYTES:
            self._lasting(self._forward)

    def _forward(self) -> None:
        if self._sink is None:
            self._sink, self._delivered = self._open()
        for piece in self._window.since(self._delivered):
            self._sink.write(piece)
            self._delivered += len(piece)

    def _open(self) -> tuple[Sink, int]:
        # hdfs-native goes back to the DataNodes that the NameNode names, dead ones too, until that has noticed; a
        # DataNode that writes for WebHDFS avoids them.
        client = self._other_way if self._other_way is not None and self._refusals > 1 else self._client
        self.is_checked &= client.checks_bytes
        if not self._window.start:
            self._partials.append(partial_name(posixpath.dirname(self.path)))
            return client.create(self._partials[-1]), 0
        length = self._client.recover(self._partials[-1])
        if length is None:
            raise FileHeldError(f"the end of {self._partials[-1]} is still being found out")
        if not self._window.start <= length <= self._window.end:
            raise TransferError(
                f"a connection broke, and HDFS has only {length:,} bytes of {self.path}: write it again"
            )
        return client.append(self._partials[-1]), length

    def _finish(self) -> None:
        self._forward()
        sink, self._sink = self._sink, None
        assert sink is not None  # noqa: S101 - _forward has opened it
        try:
            sink.close()
        except BaseException:
            with suppress(Exception):
                sink.abort()
            raise

    def _lasting(self, work: Callable[[], Result]) -> Result:
        """Do the work, again and again while connections break, from where the file on HDFS ends."""
        since = time.monotonic()
        for attempt in range(1_000_000):
            try:
                return work()
            except _BROKEN as error:
                self._drop_sink()
                self._refusals += isinstance(error, UnreachableError)
                tired = isinstance(error, HdfsServerError) and attempt >= _TRIES
                if tired or time.monotonic() - since > self._allowed_seconds(error):
                    raise
                level = logging.INFO if isinstance(error, FileHeldError) else logging.WARNING
                log.log(level, "writing %s: %s; going on from where HDFS has it", self.path, error)
                time.sleep(_PAUSE_SECONDS[min(attempt, len(_PAUSE_SECONDS) - 1)])
        raise AssertionError

    def _allowed_seconds(self, error: Exception) -> float:
        if isinstance(error, FileHeldError):
            return max(_LEASE_SECONDS, self._patience_seconds)
        if isinstance(error, UnreachableError):
            return max(_DATANODES_SECONDS, self._patience_seconds)
        return self._patience_seconds

    def _drop_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            with suppress(Exception):
                sink.abort()

    def _remove_partials(self) -> None:
        while self._partials:
            with suppress(OSError):
                self._client.delete(self._partials[-1], recursive=False)
            self._partials.pop()


class HdfsReader(io.RawIOBase):
    """A file that is read from wherever one asks, in streams that grow longer while one goes on.

    :param client: the way to HDFS.
    :param entry: the file.
    """

    def __init__(self, client: HdfsClient, entry: Entry) -> None:
        super().__init__()
        self.path = entry.path
        self.size = entry.bytes
        self._client = client
        self._position = 0
        self._source: Source | None = None
        self._source_position = 0
        self._source_end = 0
        self._span = _FIRST_SPAN_BYTES

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file goes, and return how far."""
        view = memoryview(buffer).cast("B")[: max(0, self.size - self._position)]
        if not view:
            return 0
        for attempt in range(_TRIES):
            try:
                count = self._some(view)
            except (UnreachableError, HdfsServerError) as error:
                self._let_go()
                if attempt == _TRIES - 1:
                    raise
                log.warning("reading %s: %s; going on at byte %s", self.path, error, f"{self._position:,}")
                time.sleep(_PAUSE_SECONDS[attempt])
            else:
                self._position += count
                return count
        raise AssertionError

    def _some(self, view: memoryview) -> int:
        if self._source is None or self._source_position != self._position or self._position >= self._source_end:
            went_on = self._source is not None and self._source_end == self._position
            self._let_go()
            self._span = min(4 * self._span, _LONGEST_SPAN_BYTES) if went_on else _FIRST_SPAN_BYTES
            length = min(max(self._span, len(view)), self.size - self._position)
            self._source = self._client.read(self.path, self._position, length)
            self._source_position, self._source_end = self._position, self._position + length
        count = self._source.readinto(view[: self._source_end - self._position])
        if not count:
            raise UnreachableError(f"{self.path} ended at byte {self._position:,} of {self.size:,}")
        self._source_position += count
        return count

    def _let_go(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            with suppress(Exception):
                source.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._let_go()
        super().close()


def partial_name(folder: str) -> str:
    """Return the path of a new file in ``folder`` that listings leave out, and a sweep removes."""
    return f"{folder.rstrip('/')}/.{uuid.uuid4().hex}.partial"


def rename(client: HdfsClient, source: Entry, target: str, *, overwrite: bool) -> None:
    """Rename; when the NameNode dies after it did so and before it said so, asking the other one again is no error.

    :raises FileExistsError: when the target is there, and ``overwrite`` is not.
    """
    try:
        client.rename(source.path, target, overwrite=overwrite)
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            there = client.info(target)
            if (there.bytes, there.modified_milliseconds) == (source.bytes, source.modified_milliseconds):
                return
        raise
