"""Workers that share the pieces of one transfer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from airflow_dataflow.transfer.crew import Crew, GivenUpError
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError


def test_every_piece_is_done_once() -> None:
    done: list[int] = []
    Crew(Control(), 4).run(partial(done.append, number) for number in range(1000))
    assert sorted(done) == list(range(1000))


def test_nothing_to_do_is_done_at_once() -> None:
    Crew(Control(), 4).run([])


def test_what_a_piece_brings_is_done_before_what_was_there_first() -> None:
    done: list[str] = []
    crew = Crew(Control(), 1)

    def bring(name: str) -> None:
        done.append(name)
        crew.add(partial(done.append, f"{name}{number}") for number in range(2))

    crew.run([partial(bring, "a"), partial(bring, "b")])
    assert done == ["a", "a0", "a1", "b", "b0", "b1"]


def test_pieces_that_the_last_one_brings_are_shared_by_all_workers() -> None:
    together = threading.Barrier(3)
    crew = Crew(Control(), 3)
    crew.run([lambda: crew.add([partial(together.wait, 30)] * 3)])
    assert not together.broken


@pytest.mark.parametrize(("limit", "most", "expected"), [(None, None, 4), (2, None, 2), (9, 3, 3), (9, None, 9)])
def test_as_many_workers_are_at_work_as_limits_and_memory_allow(
    limit: int | None, most: int | None, expected: int
) -> None:
    # Each worker waits for all others: more of them than expected would break the barrier, fewer would wait for ever.
    together = threading.Barrier(expected)
    Crew(Control(base=Limits(parts_at_once=limit)), 4, most).run([partial(together.wait, 30)] * (3 * expected))
    assert not together.broken


def test_the_first_error_ends_the_work_of_all() -> None:
    crew, waits = Crew(Control(), 2), threading.Event()
    seen: list[BaseException] = []

    def wait() -> None:
        waits.set()
        try:
            crew.sleep(60)
        except GivenUpError as error:
            seen.append(error)
            raise

    def fail() -> None:
        waits.wait(30)
        raise ValueError("first")

    def pieces() -> Iterator[object]:
        yield wait
        yield fail
        while True:
            yield lambda: pytest.fail("begun after the end")

    with pytest.raises(ValueError, match="first"):
        crew.run(pieces())  # type: ignore[arg-type]
    assert len(seen) == 1


def test_a_stop_does_not_wait_for_a_request_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_dataflow.transfer.crew._LEAVE_SECONDS", 0.1)
    control, goes_on = Control(), threading.Event()

    def hang() -> None:
        control.stop()
        goes_on.wait(60)

    start = time.monotonic()
    with pytest.raises(StoppedError):
        Crew(control, 1).run([hang])
    goes_on.set()
    assert time.monotonic() - start < 30


def test_a_transfer_that_is_stopped_before_it_begins_does_nothing() -> None:
    control = Control()
    control.stop()
    with pytest.raises(StoppedError):
        Crew(control, 1).run([lambda: pytest.fail("begun")])
