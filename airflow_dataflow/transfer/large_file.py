"""Files of several parts on their way into a store, where several threads write them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import xxhash

from airflow_dataflow.datasets.manifest import FileEntry
from airflow_dataflow.errors import TransferError
from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import Parts, Upload
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.sending import Piece, parts_of

_TURN_SECONDS = 0.5
"""Time between two looks at whether somebody has stopped the transfer."""


class BrokenError(TransferError):
    """A part could not be written because one before it could not."""


class Stream(Upload):
    """A file at a store that takes no parts: they follow each other into one stream."""

    in_order = True

    def __init__(self, place: Directory, path: str, size: int) -> None:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(place.create(path, expected_bytes=size))

    @property
    def handle(self) -> str:
        """Nothing: no other process can go on with it."""
        return ""

    def put(self, number: int, data: bytes | memoryview) -> str:  # noqa: ARG002 - it is the next one
        """Write the next part."""
        self._file.write(data)
        return ""

    def publish(self, tokens: object, *, exclusive: bool = False) -> None:  # noqa: ARG002 - as all uploads
        """Make the file visible."""
        self._stack.close()

    def discard(self) -> None:
        """Forget what was written."""
        error = TransferError("the file was given up")
        with suppress(TransferError):
            self._stack.__exit__(TransferError, error, None)


class LargeFile:
    """A file of several parts that is being received; several threads work on it.

    :param entry: the file.
    :param upload: where it goes.
    :param known: parts that an earlier attempt has sent: the token of each, and its digest.
    """

    def __init__(self, entry: FileEntry, upload: Upload, known: Mapping[int, tuple[str, str]]) -> None:
        self.entry = entry
        self.parts: Parts = parts_of(entry)
        self.upload = upload
        self.tokens: dict[int, tuple[str, str]] = dict(known)
        self.digest = None if known else Digest()
        """Of all that came, in order; ``None`` when an earlier attempt has sent a part of it."""
        self._left = self.parts.count
        self._order = iter([number for number in range(self.parts.count) if number not in known])
        self._next = next(self._order, None)
        self._turn = threading.Condition()
        self._broken = False

    def put(self, piece: Piece, data: bytes | memoryview, write: Callable[[Upload], str], control: Control) -> None:
        """Write a part, when its turn has come where the order matters."""
        with self._own_turn(piece.number, control):
            if self.digest is not None:
                self.digest.update(data)
            token = write(self.upload) if self.upload.in_order else None
        if token is None:
            token = write(self.upload)
        self.tokens[piece.number] = (token, xxhash.xxh3_128_hexdigest(data))

    def done(self) -> bool:
        """Count a part, and tell whether it was the last one."""
        with self._turn:
            self._left -= 1
            return self._left == 0

    @contextmanager
    def _own_turn(self, number: int, control: Control) -> Iterator[None]:
        if self.digest is None and not self.upload.in_order:
            yield
            return
        with self._turn:
            while self._next != number:
                if self._broken:
                    raise BrokenError(f"another part of {self.entry.path} could not be received")
                control.check()
                self._turn.wait(_TURN_SECONDS)
            yield
            self._next = next(self._order, None)
            self._turn.notify_all()

    def give_up(self) -> None:
        """Let those who wait for their turn go."""
        with self._turn:
            self._broken = True
            self._turn.notify_all()

    def progress(self) -> FileProgress:
        """Return what a later attempt has to know."""
        return FileProgress(
            source_stamp=self.entry.digest,
            bytes=self.entry.bytes,
            part_bytes=self.parts.part_bytes,
            handle=self.upload.handle,
            parts=self.tokens,
        )
