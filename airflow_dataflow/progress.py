"""Progress of long work: the library reports it, the caller decides how it looks."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Protocol

_WINDOW_SECONDS = 60.0
"""What the rate is measured over: long enough to be steady, short enough to show that a link has changed."""


class Progress(Protocol):
    """What the library calls as its work advances."""

    def __call__(self, what: str, done: int, total: int, unit: str) -> None:
        """Report that ``done`` of ``total`` ``unit`` (e.g. ``"rows"``) of ``what`` are finished."""


def no_progress(what: str, done: int, total: int, unit: str) -> None:
    """Report nothing."""


class Rate:
    """How fast a piece of work goes, and how long the rest of it takes if it goes on like this."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, done: int, at: float) -> None:
        """Take down that ``done`` was reached ``at`` some second of a clock."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # another piece of work
        self._seen.append((at, done))
        while len(self._seen) > 2 and at - self._seen[1][0] > _WINDOW_SECONDS:  # noqa: PLR2004 - a rate needs two
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """What was done per second lately, 0 as long as nobody knows."""
        if not self._seen:
            return 0.0
        (first, before), (last, now) = self._seen[0], self._seen[-1]
        return (now - before) / (last - first) if last > first else 0.0

    def left_seconds(self, left: int) -> float | None:
        """Return the seconds that ``left`` more take, ``None`` as long as nobody knows."""
        rate = self.per_second
        return left / rate if rate else None


def log_progress(logger: logging.Logger, every_seconds: float = 5.0) -> Progress:
    """Return a progress that writes one log line every few seconds, and one when a piece of work ends.

    :param logger: where the lines go; a task's ``self.log`` in an operator.
    :param every_seconds: least time between two lines.
    """
    last = time.monotonic()
    rates: dict[str, Rate] = {}

    def report(what: str, done: int, total: int, unit: str) -> None:
        nonlocal last
        now = time.monotonic()
        rate = rates.setdefault(what, Rate())
        if done < total and now - last < every_seconds:
            if not rate.per_second:
                rate.add(done, now)
            return
        last = now
        rate.add(done, now)
        logger.info("%s: %s of %s %s%s", what, f"{done:,}", f"{total:,}", unit, _pace(rate, total - done, unit))

    return report


def _pace(rate: Rate, left: int, unit: str) -> str:
    seconds = rate.left_seconds(left)
    if seconds is None:
        return ""
    return f", {rate.per_second:,.0f} {unit} per second" + (f", {seconds:,.0f} seconds left" if left > 0 else "")
