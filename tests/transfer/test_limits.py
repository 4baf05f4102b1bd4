"""Limits hold, change while a transfer runs, and a stop ends all waiting."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_dataflow.errors import InvalidInputError, TransientError
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError, bytes_of
from airflow_dataflow.transfer.options import TransferOptions


class Steered:
    """Limits that a test changes."""

    def __init__(self, limits: Limits | Exception) -> None:
        self.limits = limits
        self.asked = 0

    def __call__(self) -> Limits:
        self.asked += 1
        if isinstance(self.limits, Exception):
            raise self.limits
        return self.limits


def test_threads_together_keep_to_the_bytes_per_second() -> None:
    control = Control(base=Limits(bytes_per_second=1_000_000))
    begin = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(control.take, [50_000] * 24))
    # The last one need not wait for its own bytes, and a quarter of a second may go at once.
    assert 0.85 <= time.monotonic() - begin < 5


def test_a_part_larger_than_a_second_passes_and_the_next_one_waits_for_it() -> None:
    control = Control(base=Limits(bytes_per_second=1_000_000))
    begin = time.monotonic()
    control.take(700_000)
    assert time.monotonic() - begin < 0.5
    control.take(1)
    assert time.monotonic() - begin >= 0.69


def test_without_a_limit_nobody_waits() -> None:
    control = Control()
    begin = time.monotonic()
    for _ in range(1000):
        control.take(1 << 40)
    assert time.monotonic() - begin < 1
    assert control.at_once(16) == 16


def test_limits_change_while_threads_wait() -> None:
    steered = Steered(Limits(bytes_per_second=1))
    control = Control(steered, every_seconds=0.05)
    control.take(1_000)
    begin = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(control.take, 1)
        steered.limits = Limits()
        waiting.result(30)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("base", "said", "parts", "rate"),
    [
        (Limits(), Limits(parts_at_once=3), 3, None),
        (Limits(parts_at_once=5, bytes_per_second=7), Limits(), 5, 7),
        (Limits(parts_at_once=5, bytes_per_second=7), Limits(parts_at_once=2), 2, 7),
        (TransferOptions(parts_at_once=4).limits, Limits(bytes_per_second=9), 4, 9),
    ],
)
def test_what_the_limits_leave_open_the_options_say(base: Limits, said: Limits, parts: int, rate: int | None) -> None:
    control = Control(Steered(said), base=base)
    assert (control.at_once(16), control.limits.bytes_per_second) == (parts, rate)


def test_limits_are_asked_for_every_few_seconds_by_one_thread_while_the_others_go_on() -> None:
    asking, answer = threading.Event(), threading.Event()

    def slow() -> Limits:
        asking.set()
        assert answer.wait(30)
        return Limits(parts_at_once=2)

    control = Control(slow, every_seconds=60)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(control.at_once, 16)
        assert asking.wait(30)
        assert control.at_once(16) == 16
        answer.set()
        assert first.result(30) == 2
    answer.clear()
    assert control.at_once(16) == 2


def test_an_error_keeps_the_limits_of_before_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    steered = Steered(Limits(parts_at_once=3))
    control = Control(steered, every_seconds=0)
    assert control.at_once(16) == 3
    steered.limits = InvalidInputError("limits have no 'part'")
    assert [control.at_once(16) for _ in range(5)] == [3] * 5
    assert (steered.asked, caplog.text.count("limits have no 'part'")) == (6, 1)
    steered.limits = Limits(parts_at_once=4)
    assert control.at_once(16) == 4


@pytest.mark.parametrize("wait", [lambda control: control.take(1), lambda control: control.sleep(3600)])
def test_a_stop_ends_a_wait_within_a_second_and_is_worth_another_attempt(wait) -> None:  # type: ignore[no-untyped-def]
    control = Control(base=Limits(bytes_per_second=1))
    control.take(1 << 30)
    control.check()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, control)
        begin = time.monotonic()
        control.stop()
        with pytest.raises(StoppedError, match="the next attempt goes on where it was"):
            waiting.result(30)
    assert time.monotonic() - begin < 2
    assert issubclass(StoppedError, TransientError)
    with pytest.raises(StoppedError):
        control.check()


@pytest.mark.parametrize(
    ("content", "limits"),
    [
        (None, Limits()),
        ({}, Limits()),
        ({"parts_at_once": 2, "bytes_per_second": None}, Limits(parts_at_once=2)),
        ({"bytes_per_second": "20MB"}, Limits(bytes_per_second=20_000_000)),
    ],
)
def test_limits_that_a_person_writes(content: object, limits: Limits) -> None:
    assert Limits.parse(content) == limits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "limits are a mapping of bytes_per_second and parts_at_once"),
        ({"part_at_once": 2}, "limits have no 'part_at_once'; did you mean 'parts_at_once'?"),
        ({"parts_at_once": 0}, "parts_at_once must be a whole number of at least 1, or null, got 0"),
        ({"bytes_per_second": "fast"}, "'fast' is no size; write one such as 20MB, 1.5GiB or 500k"),
        ({"bytes_per_second": True}, "bytes_per_second must be a whole number"),
    ],
)
def test_nonsense_in_limits_is_refused_with_what_is_wrong(content: object, message: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Limits.parse(content)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("20MB", 20_000_000), ("1.5 GiB", 3 << 29), ("500k", 500_000), ("7", 7), ("2mib/s", 2 << 20), ("3B", 3)],
)
def test_sizes_that_people_write(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "0", "0.1", "20 parsecs", "1e6"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no size"):
        bytes_of(text)
