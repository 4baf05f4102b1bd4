"""Progress of long work, as lines in a log."""

from __future__ import annotations

import logging
import re

import pytest

from airflow_dataflow.progress import Rate, log_progress


@pytest.mark.parametrize(
    ("seen", "per_second", "left_seconds"),
    [
        ([], 0.0, None),
        ([(0.0, 5)], 0.0, None),
        ([(0.0, 0), (0.0, 5)], 0.0, None),
        ([(0.0, 0), (10.0, 50)], 5.0, 20.0),
        ([(0.0, 0), (10.0, 0)], 0.0, None),
        # What was long ago does not count, as the link may have changed since.
        ([(0.0, 0), (100.0, 10_000), (150.0, 10_500), (200.0, 11_000)], 10.0, 10.0),
        # Fewer than before is another piece of work.
        ([(0.0, 0), (10.0, 500), (20.0, 0), (30.0, 20)], 2.0, 50.0),
    ],
)
def test_the_rate_is_that_of_the_last_minute(
    seen: list[tuple[float, int]], per_second: float, left_seconds: float | None
) -> None:
    rate = Rate()
    for at, done in seen:
        rate.add(done, at)
    assert rate.per_second == per_second
    assert rate.left_seconds(100) == left_seconds


def test_lines_tell_how_fast_it_goes_and_how_long_the_rest_takes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 0.0, 1.0, 10.0, 11.0, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    report = log_progress(logging.getLogger("test"), every_seconds=5.0)
    for done in (0, 1000, 10_000, 11_000, 20_000):
        report("copy", done, 20_000, "bytes")
    monkeypatch.undo()
    assert [re.sub(r"^copy: ", "", message) for message in caplog.messages] == [
        "10,000 of 20,000 bytes, 1,000 bytes per second, 10 seconds left",
        "20,000 of 20,000 bytes, 1,000 bytes per second",
    ]
