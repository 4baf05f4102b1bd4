"""Workers that take pieces of work in order, as many at a time as the limits allow at the moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from airflow_dataflow.errors import TransientError
from airflow_dataflow.transfer.limits import Control

Piece = Callable[[], object]

_LOOK_SECONDS = 0.2
"""Longest time between two looks at limits and stops."""
_LEAVE_SECONDS = 5.0
"""How long a stopped transfer waits for requests that are under way; what they still do, the next attempt finds."""


class GivenUpError(TransientError):
    """Another worker has failed, so that this one's work is of no use any more; that other error tells why."""


class Crew:
    """Threads that share the pieces of one transfer.

    :param control: its limits and its stop.
    :param at_once: number of workers where there is no limit.
    :param most: number of workers that there is memory for, whatever the limit; none when ``None``.
    """

    def __init__(self, control: Control, at_once: int, most: int | None = None) -> None:
        self._control = control
        self._at_once = at_once
        self._memory_for = most
        self._changed = threading.Condition()
        self._work: list[Iterator[Piece]] = []
        self._workers = 0
        self._failure: BaseException | None = None
        self._over = False

    def run(self, work: Iterable[Piece]) -> None:
        """Do all pieces, and those that :meth:`add` brings meanwhile; the first error ends it.

        :raises StoppedError: within seconds, when somebody has stopped the transfer.
        """
        self._work.append(iter(work))
        patience = None
        try:
            while self._hire():
                with self._changed:
                    if self._workers:
                        self._changed.wait(_LOOK_SECONDS)
        except BaseException:
            patience = _LEAVE_SECONDS
            raise
        finally:
            self._dismiss(patience)
        if self._failure is not None:
            raise self._failure

    def add(self, work: Iterable[Piece]) -> None:
        """Bring more pieces, which are done before those that :meth:`run` was given; a worker calls it."""
        with self._changed:
            self._work.insert(len(self._work) - 1, iter(work))
            self._changed.notify_all()

    def check(self) -> None:
        """Raise an error when somebody has stopped the transfer, or another worker has failed."""
        self._control.check()
        if self._over:
            raise GivenUpError("another part of the transfer has failed")

    def sleep(self, seconds: float) -> None:
        """Wait, but not for longer than until :meth:`check` would raise an error."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
            self.check()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may be sent."""
        self.check()
        self._control.take(size)

    def _hire(self) -> bool:
        """Bring the number of workers to what it may be, and tell whether there is still something to do."""
        self._control.check()
        most = self._most()
        with self._changed:
            while self._workers < most and (piece := self._next()) is not None:
                self._workers += 1
                # No pool: a thread of the standard one, stuck in a request, would keep the process from ending.
                threading.Thread(target=self._labour, args=(piece,), name="transfer", daemon=True).start()
            return self._workers > 0

    def _most(self) -> int:
        most = self._control.at_once(self._at_once)
        return most if self._memory_for is None else min(most, self._memory_for)

    def _next(self) -> Piece | None:
        while self._work and not self._over:
            piece = next(self._work[0], None)
            if piece is not None:
                return piece
            if len(self._work) == 1:
                return None
            self._work.pop(0)
        return None

    def _labour(self, piece: Piece | None) -> None:
        while piece is not None:
            try:
                self.check()
                piece()
                most = self._most()
            except BaseException as error:  # noqa: BLE001 - the thread that waits for this one raises it
                self._fail(error)
                return
            with self._changed:
                piece = self._next() if self._workers <= most else None
                if piece is None:
                    self._leave()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if not self._over:
                self._failure = error
            self._over = True
            self._leave()

    def _leave(self) -> None:
        self._workers -= 1
        self._changed.notify_all()

    def _dismiss(self, patience: float | None) -> None:
        """Wait until all workers have gone, or for ``patience`` seconds."""
        end = None if patience is None else time.monotonic() + patience
        with self._changed:
            self._over = True
            while self._workers and (end is None or time.monotonic() < end):
                self._changed.wait(_LOOK_SECONDS)
