"""Limits of a transfer that can change while it runs, and its end before its time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from airflow_dataflow.errors import TransferError


class StoppedError(TransferError):
    """Somebody has stopped the transfer; another attempt goes on where it was."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a transfer may use at the moment."""

    bytes_per_second: int | None = None
    """Most bytes to send in a second; as many as go when ``None``."""
    parts_at_once: int | None = None
    """Parts or files in flight at a time; what both stores like when ``None``."""


class Control:
    """What steers a transfer from outside: its limits, asked for every few seconds, and a stop.

    :param limits: returns the limits as they are now; an error keeps those of before.
    """

    def __init__(self, limits: Callable[[], Limits] | None = None) -> None:
        self._limits = limits
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the transfer within seconds; safe to call from a signal handler."""
        self._stopped.set()

    def check(self) -> None:
        """Raise :class:`StoppedError` when somebody has stopped the transfer."""
        if self._stopped.is_set():
            raise StoppedError("the transfer was stopped; the next attempt goes on where it was")
