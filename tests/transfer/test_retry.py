"""Trying again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_dataflow.errors import (
    AccessDeniedError,
    BusyError,
    CorruptDataError,
    SourceChangedError,
    StorageFullError,
    TransferError,
)
from airflow_dataflow.storage.parts import DamagedError, LostUploadError
from airflow_dataflow.transfer import retry
from airflow_dataflow.transfer.crew import GivenUpError
from airflow_dataflow.transfer.limits import Control, StoppedError
from airflow_dataflow.transfer.retry import may_pass, retrying


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock by which retries go."""
    clock = Clock()
    monkeypatch.setattr("airflow_dataflow.transfer.retry.time.monotonic", lambda: clock.now)
    return clock


def _failing(*errors: Exception) -> Callable[[], str]:
    left = iter(errors)

    def work() -> str:
        error = next(left, None)
        if error is not None:
            raise error
        return "done"

    return work


def test_a_link_that_is_down_for_half_a_minute_is_survived(clock: Clock) -> None:
    def work() -> str:
        if clock.now < 30:
            raise ConnectionRefusedError("down")
        return "done"

    retries: list[int] = []
    assert retrying(work, clock, lambda: retries.append(1)) == "done"
    assert clock.now < 30 + retry.LONGEST_PAUSE_SECONDS
    assert len(retries) == len(clock.pauses) < 20


def test_a_link_that_stays_down_is_given_up_after_two_minutes(clock: Clock) -> None:
    def work() -> str:
        raise TimeoutError("down")

    with pytest.raises(TimeoutError):
        retrying(work, clock)
    assert retry.RETRY_SECONDS <= clock.now < retry.RETRY_SECONDS + retry.LONGEST_PAUSE_SECONDS
    assert max(clock.pauses) <= retry.LONGEST_PAUSE_SECONDS


def test_pauses_grow_and_differ(clock: Clock) -> None:
    retrying(_failing(*[TransferError("x")] * 6), clock)
    for number, pause in enumerate(clock.pauses):
        longest = retry.FIRST_PAUSE_SECONDS * 2**number
        assert longest / 2 <= pause <= longest
    assert len(set(clock.pauses)) == 6


def test_damaged_bytes_are_sent_again_at_once_and_three_times_at_most(clock: Clock) -> None:
    assert retrying(_failing(DamagedError("1"), DamagedError("2")), clock) == "done"
    assert sum(clock.pauses) == 0
    with pytest.raises(DamagedError, match="3"):
        retrying(_failing(*map(DamagedError, "1234")), clock)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (TransferError("broken"), True),
        (BusyError("held"), True),
        (ConnectionResetError("reset"), True),
        (EOFError("half"), True),
        (OSError(5, "Input/output error"), True),
        (StorageFullError("full"), False),
        (OSError(28, "No space left on device"), False),
        (AccessDeniedError("expired"), False),
        (PermissionError("refused"), False),
        (FileNotFoundError("gone"), False),
        (SourceChangedError("replaced"), False),
        (CorruptDataError("wrong"), False),
        (StoppedError("stopped"), False),
        (GivenUpError("another one"), False),
        (LostUploadError("begin anew"), False),
        (ValueError("a mistake of ours"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(clock: Clock, error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
    work = _failing(error)
    if passes:
        assert retrying(work, clock) == "done"
        return
    with pytest.raises(type(error)):
        retrying(work, clock)
    assert clock.pauses == []


def test_a_stop_ends_the_pause() -> None:
    control = Control()

    def work() -> str:
        control.stop()
        raise ConnectionResetError("reset")

    with pytest.raises(StoppedError):
        retrying(work, control)
