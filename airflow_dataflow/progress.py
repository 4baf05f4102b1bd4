"""Progress of long work: the library reports it, the caller decides how it looks."""

from __future__ import annotations

import logging
import time
from typing import Protocol


class Progress(Protocol):
    """What the library calls as its work advances."""

    def __call__(self, what: str, done: int, total: int, unit: str) -> None:
        """Report that ``done`` of ``total`` ``unit`` (e.g. ``"rows"``) of ``what`` are finished."""


def no_progress(what: str, done: int, total: int, unit: str) -> None:
    """Report nothing."""


def log_progress(logger: logging.Logger, every_seconds: float = 5.0) -> Progress:
    """Return a progress that writes one log line every few seconds, and one when a piece of work ends.

    :param logger: where the lines go; a task's ``self.log`` in an operator.
    :param every_seconds: least time between two lines.
    """
    last = time.monotonic()

    def report(what: str, done: int, total: int, unit: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < every_seconds:
            return
        last = now
        logger.info("%s: %s of %s %s", what, f"{done:,}", f"{total:,}", unit)

    return report
