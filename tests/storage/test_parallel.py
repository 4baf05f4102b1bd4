"""Work on many files at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import FILES_AT_ONCE, SMALL_FILE_BYTES, files_in_parallel, in_parallel


def test_the_first_error_stops_what_has_not_begun() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_parallel(work, range(100_000))
    assert len(begun) < 100_000


def test_as_many_small_files_are_in_work_as_the_slower_place_wants_and_fewer_large_ones(tmp_path: Path) -> None:
    slow, fast = (Directory.from_url(str(tmp_path / name)) for name in ("slow", "fast"))
    slow.backend.small_files_at_once = 9
    all_small = threading.Barrier(9)
    lock = threading.Lock()
    done: list[int] = []
    busy = most = 0

    def work(size: int) -> None:
        nonlocal busy, most
        if size <= SMALL_FILE_BYTES:
            all_small.wait(60)
        else:
            with lock:
                busy += 1
                most = max(most, busy)
            all_small.reset()
            with lock:
                busy -= 1
        done.append(size)

    sizes = [SMALL_FILE_BYTES + 1] * 30 + [0, SMALL_FILE_BYTES, 1] * 3
    files_in_parallel(work, sizes, size=lambda size: size, places=(slow, fast))
    assert sorted(done) == sorted(sizes)
    assert most <= FILES_AT_ONCE
