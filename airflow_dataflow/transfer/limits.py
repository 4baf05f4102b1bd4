"""Limits of a transfer that can change while it runs, and its end before its time."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from airflow_dataflow.errors import InvalidInputError, TransferError, did_you_mean

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
"""Longest time between two looks at whether the transfer was stopped."""
_BURST_SECONDS = 0.25
"""What may go at once after a pause, as a share of a second of the limit."""


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def bytes_of(text: str) -> int:
    """Return the bytes that a person wrote as ``20MB``, ``1.5 GiB`` or ``500k``.

    :raises InvalidInputError: when it is no such size.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmg]i?)?b?(?:/s)?\s*", text.lower())
    size = int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    if size < 1:
        raise InvalidInputError(f"{text!r} is no size; write one such as 20MB, 1.5GiB or 500k")
    return size


class StoppedError(TransferError):
    """Somebody has stopped the transfer; another attempt goes on where it was."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a transfer may use at the moment."""

    bytes_per_second: int | None = None
    """Most bytes to send in a second; as many as go when ``None``."""
    parts_at_once: int | None = None
    """Parts or files in flight at a time; what both stores like when ``None``."""

    @classmethod
    def parse(cls, content: Any) -> Limits:
        """Return the limits that a person wrote as JSON or YAML; nothing at all means no limits.

        :raises InvalidInputError: when these are none.
        """
        names = [field.name for field in fields(cls)]
        if content is None:
            return cls()
        if not isinstance(content, Mapping):
            raise InvalidInputError(f"limits are a mapping of {' and '.join(names)}, got {content!r}")
        for name in content:
            if name not in names:
                raise InvalidInputError(f"limits have no {name!r}{did_you_mean(str(name), names)}")
        rate = content.get("bytes_per_second")
        given = dict(content) | {"bytes_per_second": bytes_of(rate) if isinstance(rate, str) else rate}
        for name, value in given.items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InvalidInputError(f"{name} must be a whole number of at least 1, or null, got {value!r}")
        return cls(**given)

    def __str__(self) -> str:
        rate = "no limit" if self.bytes_per_second is None else f"{self.bytes_per_second:,}"
        parts = "as many as the stores like" if self.parts_at_once is None else str(self.parts_at_once)
        return f"bytes per second: {rate}; parts at once: {parts}"


class Control:
    """What steers a transfer from outside: its limits, asked for every few seconds, and a stop.

    Threads of one transfer share it.

    :param limits: returns the limits as they are now; an error keeps those of before.
    :param base: what counts where ``limits`` says nothing.
    :param every_seconds: least time between two times that ``limits`` is asked.
    """

    def __init__(
        self,
        limits: Callable[[], Limits] | None = None,
        *,
        base: Limits | None = None,
        every_seconds: float = 3.0,
    ) -> None:
        self._ask = limits
        self._base = base or Limits()
        self._every_seconds = every_seconds
        self._limits = self._base
        self._asked_at: float | None = None
        self._asking = threading.Lock()
        self._complaint: str | None = None
        # A plain flag: an event's lock could be held by the very thread that a signal interrupts.
        self._stopped = False
        self._bucket = threading.Lock()
        self._tokens = 0.0
        self._filled_at = time.monotonic()

    def stop(self) -> None:
        """End the transfer within seconds; safe to call from a signal handler."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped the transfer."""
        return self._stopped

    def check(self) -> None:
        """Raise :class:`StoppedError` when somebody has stopped the transfer."""
        if self._stopped:
            raise StoppedError("the transfer was stopped; the next attempt goes on where it was")

    def sleep(self, seconds: float) -> None:
        """Wait, e.g. before another try, but not for longer than until somebody stops the transfer.

        :raises StoppedError: when somebody has stopped it.
        """
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
            self.check()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may be sent.

        Whoever comes first may take more than there is, and those who come next wait for what it took: parts of any
        size pass, and over a few seconds the limit holds.

        :raises StoppedError: when somebody has stopped the transfer.
        """
        while True:
            self.check()
            wait = self._wait_or_take(size)
            if wait <= 0:
                return
            time.sleep(min(wait, _LOOK_SECONDS))

    def _wait_or_take(self, size: int) -> float:
        rate = self.limits.bytes_per_second
        with self._bucket:
            now = time.monotonic()
            if rate is None:
                self._tokens, self._filled_at = 0.0, now
                return 0.0
            gained = (now - self._filled_at) * rate
            self._tokens = min(self._tokens + gained, rate * _BURST_SECONDS)
            self._filled_at = now
            if self._tokens < 0:
                return -self._tokens / rate
            self._tokens -= size
            return 0.0

    def at_once(self, default: int) -> int:
        """Return how many parts or files may be in flight now.

        :param default: what both stores like, where there is no limit.
        """
        return self.limits.parts_at_once or default

    @property
    def limits(self) -> Limits:
        """The limits that count now."""
        # One thread asks; the others go on with what counted before, however long the answer takes.
        if self._ask is not None and self._is_due() and self._asking.acquire(blocking=False):
            try:
                self._ask_again(self._ask)
            finally:
                self._asking.release()
        return self._limits

    def _is_due(self) -> bool:
        return self._asked_at is None or time.monotonic() - self._asked_at >= self._every_seconds

    def _ask_again(self, ask: Callable[[], Limits]) -> None:
        if not self._is_due():
            return
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001 - no mistake in the limits may end a transfer
            self._complain(f"{error} ({type(error).__name__})")
        else:
            self._complaint = None
            new = Limits(
                bytes_per_second=found.bytes_per_second or self._base.bytes_per_second,
                parts_at_once=found.parts_at_once or self._base.parts_at_once,
            )
            if new != self._limits:
                log.info("limits of the transfer are now: %s", new)
            self._limits = new
        self._asked_at = time.monotonic()

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log.warning("limits cannot be read, those of before count (%s): %s", self._limits, what)
        self._complaint = what
