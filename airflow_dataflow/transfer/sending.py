"""Where a site gets the parts of a version from: the site above it in the tree, or one farther up when that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from airflow_dataflow.datasets.manifest import FileEntry, Manifest
from airflow_dataflow.errors import CorruptDataError, NotFoundError, TransferError, is_terminal
from airflow_dataflow.scheduling.replication import PART_BYTES
from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import DamagedError, Parts
from airflow_dataflow.storage.staging import Staging
from airflow_dataflow.transfer.limits import Control, StoppedError
from airflow_dataflow.transfer.retry import DAMAGED_TRIES

log = logging.getLogger(__name__)

_MOST_PARTS = 10_000
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.5
"""Time between two looks for a part that is not there yet."""
_LOOK_SECONDS = 5.0
"""Time between two looks at whether a site has failed."""


@dataclass(frozen=True)
class Piece:
    """What is sent at once: a part of a large file, or a small file."""

    entry: FileEntry
    """The file."""
    parts: Parts
    """Where its parts lie."""
    number: int
    """Which of them it is."""

    @property
    def is_whole(self) -> bool:
        """Whether it is a file of its own."""
        return self.parts.count == 1

    @property
    def length(self) -> int:
        """Bytes of it."""
        return self.parts.length(self.number)

    @property
    def staged_name(self) -> str:
        """Name under which a site passes it on."""
        digest = self.entry.digest.rpartition(":")[2]
        return f"{digest}.{self.parts.part_bytes}/{self.number:05}"

    def __str__(self) -> str:
        if self.is_whole:
            return self.entry.path
        return f"part {self.number + 1} of {self.parts.count} of {self.entry.path}"


def parts_of(entry: FileEntry) -> Parts:
    """Return the parts of a file; every process cuts it the same way."""
    least = -(-entry.bytes // _MOST_PARTS)
    return Parts(entry.bytes, PART_BYTES if least <= PART_BYTES else -(-least // (1 << 20)) << 20)


def pieces_of(manifest: Manifest) -> Iterator[Piece]:
    """Yield the pieces of a version, in the order in which they are sent."""
    for entry in manifest.files:
        parts = parts_of(entry)
        for number in range(parts.count):
            yield Piece(entry, parts, number)


class Sender:
    """A site that has a version, or is receiving it.

    :param name: its name.
    :param open_site: opens the folder of the site.
    :param open_version: opens the version's folder there.
    :param manifest: the version.
    :param is_source: whether it has had everything from the start.
    :param gave_up: tells whether the site has failed in this process.
    """

    def __init__(
        self,
        name: str,
        open_site: Callable[[], Directory],
        open_version: Callable[[], Directory],
        manifest: Manifest,
        *,
        is_source: bool,
        gave_up: Callable[[], bool],
    ) -> None:
        self.name = name
        self.is_source = is_source
        self._open_site = open_site
        self._open_version = open_version
        self._manifest = manifest
        self._gave_up = gave_up
        self._pins: dict[str, str | None] = {}
        self._looked_at = time.monotonic()
        self._look_at = 0.0

    @cached_property
    def _folder(self) -> Directory:
        return self._open_version()

    @cached_property
    def _staging(self) -> Staging | None:
        return None if self.is_source else Staging(self._open_site(), self._manifest.dataset, self._manifest.version)

    def read(self, piece: Piece, *, published: bool) -> bytes | memoryview | None:
        """Return a piece, ``None`` when the site has not got it yet.

        :param published: only of a file that is whole there.
        :raises DamagedError: when it arrived damaged.
        """
        if self._staging is not None and not published and not piece.is_whole:
            staged = self._staging.read(piece.staged_name, piece.length)
            if staged is not None:
                return staged
            if time.monotonic() < self._look_at:
                return None
        try:
            data = self._folder.read_range(
                piece.entry.path, piece.parts.start(piece.number), piece.length, pin=self._pin(piece)
            )
        except (NotFoundError, FileNotFoundError):
            if self.is_source:
                raise
            self._look_at = time.monotonic() + LONGEST_PAUSE_SECONDS
            return None
        self._look_at = 0.0
        if len(data) != piece.length:
            raise DamagedError(f"{piece} came from {self.name} with {len(data):,} bytes of {piece.length:,}")
        if piece.is_whole:
            digest = Digest()
            digest.update(data)
            if str(digest) != piece.entry.digest:
                raise DamagedError(
                    f"{piece} came from {self.name} with {digest}, but its manifest says {piece.entry.digest}"
                )
        return data

    def _pin(self, piece: Piece) -> str | None:
        if not self.is_source or piece.is_whole:
            return None
        if piece.entry.path not in self._pins:
            self._pins[piece.entry.path] = self._folder.stamp(piece.entry.path)
        return self._pins[piece.entry.path]

    def has_failed(self) -> bool:
        """Tell whether nothing more is to come from here."""
        if self._gave_up():
            return True
        if self._staging is None or time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        return self._staging.has_failed()


class Senders:
    """The sites above a site in the tree; it receives from the nearest one that works.

    :param senders: nearest first; the last one is the source.
    :param control: ends the waiting.
    :param patience_seconds: how long a site may send nothing before the next one takes its place.
    :param retried: called for each piece that has to be sent again.
    """

    def __init__(
        self, senders: Sequence[Sender], *, control: Control, patience_seconds: float, retried: Callable[[], None]
    ) -> None:
        self._senders = list(senders)
        self._control = control
        self._patience_seconds = patience_seconds
        self._retried = retried
        self._lock = threading.Lock()
        self._heard_at = time.monotonic()
        self._reads: dict[str, list[tuple[float, float, int]]] = {}

    @property
    def current(self) -> Sender:
        """The site that sends now."""
        return self._senders[0]

    def fetch(self, piece: Piece, *, published: bool = False) -> bytes | memoryview:
        """Return a piece, as soon as somebody has it.

        :param published: only of a file that is whole there, because what was sent before was wrong.
        :raises StoppedError: when somebody has stopped the transfer.
        :raises CorruptDataError: when the source itself has other bytes.
        """
        pause, tries = FIRST_PAUSE_SECONDS, 0
        while True:
            self._control.check()
            sender, began = self.current, time.monotonic()
            try:
                data = sender.read(piece, published=published)
            except StoppedError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one site, another may have the piece
                tries += 1
                self._retried()
                self._judge(sender, piece, error, tries)
            else:
                if data is not None:
                    self._heard(sender, began, len(data))
                    return data
                if sender.has_failed():
                    self._leave(sender, TransferError(f"{sender.name} has failed itself"))
                elif self._waited_seconds() > self._patience_seconds:
                    self._leave(
                        sender, TransferError(f"{sender.name} has sent nothing for {self._patience_seconds:g} s")
                    )
            self._control.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _judge(self, sender: Sender, piece: Piece, error: Exception, tries: int) -> None:
        damaged = isinstance(error, DamagedError)
        if is_terminal(error) or self._waited_seconds() > self._patience_seconds:
            self._leave(sender, error)
        elif damaged and sender.is_source and tries >= DAMAGED_TRIES:
            raise CorruptDataError(
                f"{error}, {DAMAGED_TRIES} times; restore {piece.entry.path} at {sender.name}"
            ) from error
        else:
            log.warning("%s did not come from %s (%s); trying again", piece, sender.name, error)

    def _waited_seconds(self) -> float:
        with self._lock:
            return time.monotonic() - self._heard_at

    def _heard(self, sender: Sender, began: float, size: int) -> None:
        with self._lock:
            self._heard_at = time.monotonic()
            self._reads.setdefault(sender.name, []).append((began, self._heard_at, size))

    def _leave(self, sender: Sender, error: Exception) -> None:
        """Go on with the next site above; the source has none above it."""
        with self._lock:
            if self._senders[0] is not sender:
                return
            if len(self._senders) == 1:
                raise error
            del self._senders[0]
            self._heard_at = time.monotonic()
        log.warning("%s does not send (%s): going on from %s", sender.name, error, self.current.name)

    def measured(self) -> dict[str, tuple[int, float]]:
        """Return by name of the site how many bytes have come, and the seconds in which some were on their way."""
        with self._lock:
            return {name: (sum(size for *_, size in reads), _covered(reads)) for name, reads in self._reads.items()}


def _covered(reads: Sequence[tuple[float, float, int]]) -> float:
    seconds, until = 0.0, 0.0
    for began, ended, _ in sorted(reads):
        seconds += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return seconds
