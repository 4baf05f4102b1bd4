"""Trying again: what fails for a while is done again until it works, what arrives damaged a few times."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from airflow_dataflow.errors import TransientError, is_terminal
from airflow_dataflow.storage.parts import DamagedError, LostUploadError
from airflow_dataflow.transfer.crew import GivenUpError
from airflow_dataflow.transfer.limits import StoppedError

log = logging.getLogger(__name__)

RETRY_SECONDS = 120.0
"""How long a request goes on being tried: longer than a switch restarts, or a server is replaced by another."""
FIRST_PAUSE_SECONDS = 0.2
"""Pause before the second try; each one after it is up to twice as long."""
LONGEST_PAUSE_SECONDS = 10.0
"""Longest pause: a link that is back is found within this time."""
DAMAGED_TRIES = 3
"""How often bytes may arrive changed: accidents do not repeat, broken machines do."""

Result = TypeVar("Result")


class Pauses(Protocol):
    """Who knows how long a pause may last: a :class:`~airflow_dataflow.transfer.limits.Control`, for one."""

    def sleep(self, seconds: float) -> None:
        """Wait, and raise an error when it is of no use to wait any longer."""


def retrying(work: Callable[[], Result], pauses: Pauses, on_retry: Callable[[], object] | None = None) -> Result:
    """Do ``work`` until it works, and return what it returns.

    Trouble that may pass is tried again for :data:`RETRY_SECONDS` after it began, with growing pauses of random
    length, so that many workers do not come back at one moment. Damaged bytes are sent again at once.

    :param pauses: waits between two tries, and ends the wait when somebody stops the transfer.
    :param on_retry: called before each further try.
    :raises StoppedError: when somebody has stopped the transfer.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception

    began = time.monotonic()
    damages = 0

    def ends(state: RetryCallState) -> bool:
        nonlocal damages
        error = state.outcome.exception() if state.outcome else None
        damages += isinstance(error, DamagedError)
        return damages >= DAMAGED_TRIES or time.monotonic() - began >= RETRY_SECONDS

    def pause(state: RetryCallState) -> float:
        if state.outcome and isinstance(state.outcome.exception(), DamagedError):
            return 0.0
        longest = min(FIRST_PAUSE_SECONDS * 2 ** (state.attempt_number - 1), LONGEST_PAUSE_SECONDS)
        return random.uniform(longest / 2, longest)

    def before_pause(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s; trying again (%d)", error, state.attempt_number)
        if on_retry is not None:
            on_retry()

    again = Retrying(
        retry=retry_if_exception(may_pass),
        stop=ends,
        wait=pause,
        sleep=pauses.sleep,
        before_sleep=before_pause,
        reraise=True,
    )
    return again(work)


def may_pass(error: BaseException) -> bool:
    """Tell whether what failed may work a moment later."""
    if isinstance(error, StoppedError | GivenUpError | LostUploadError) or is_terminal(error):
        return False
    return isinstance(error, TransientError | OSError | EOFError)
