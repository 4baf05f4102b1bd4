"""Journals of all kinds: what one attempt writes the next one reads, whenever the first was killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.errors import BusyError
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.file_journal import FileJournal
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.journal_log import LogJournal
from airflow_dataflow.transfer.state_journal import StateJournal

WHOLE = FileProgress(source_stamp="mtime:1", bytes=3, target_stamp="mtime:2")
BEGUN = FileProgress(source_stamp='ETag:"a"', bytes=64 << 20, part_bytes=16 << 20, handle="upload-1")
NAMES = ["a.csv", "ünïcode/\N{LINE SEPARATOR} and\nline.csv", "x" * 3000]

Open = Callable[..., LogJournal]


class Values(dict[str, Any]):
    """Values by key, as Airflow keeps them for a task."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


@pytest.fixture(params=["catalog", "file", "state"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return a function that opens a journal of one kind."""
    values = Values()

    def make(transfer: str = "4f2a9c") -> LogJournal:
        if request.param == "catalog":
            return CatalogJournal(Catalog(f"sqlite:///{tmp_path}/catalog.db"), transfer, "s3://bucket/to")
        if request.param == "file":
            return FileJournal(tmp_path / "journals", transfer, "s3://bucket/to")
        return StateJournal(values, transfer)

    return make


def part(number: int) -> tuple[str, str]:
    return f"{number:032x}", f"{number * 7919:032x}"


def test_what_one_attempt_saves_the_next_one_loads(journal: Open) -> None:
    begun = replace(BEGUN, parts={0: part(0), 2: part(2)})
    saved = dict.fromkeys(NAMES, WHOLE) | {"big": begun, "unstamped": replace(WHOLE, source_stamp=None)}
    with journal() as first:
        assert first.load() == {}
        first.save(saved)
        first.save({"big": replace(begun, parts={**begun.parts, 1: part(1)})})
    with journal() as second:
        assert second.load() == saved | {"big": replace(begun, parts={n: part(n) for n in range(3)})}
        second.save({"big": replace(BEGUN, handle="upload-2")})
        second.save({"a.csv": replace(WHOLE, source_stamp="mtime:9")})
    with journal() as third:
        found = third.load()
        assert found["big"] == replace(BEGUN, handle="upload-2")
        assert found["a.csv"].source_stamp == "mtime:9"


def test_nothing_is_left_of_a_transfer_that_is_whole(journal: Open) -> None:
    with journal() as first:
        first.save({"a": WHOLE, "b": BEGUN})
        first.clear()
    with journal() as second:
        assert second.load() == {}
        second.save({"c": BEGUN})
        second.clear()
        second.save({"d": BEGUN})
    with journal() as third:
        assert third.load() == {"d": BEGUN}


def test_parts_that_a_part_replaces_and_parts_that_are_gone_count_no_longer(journal: Open) -> None:
    with journal() as first:
        first.save({"big": replace(BEGUN, parts={0: part(0), 1: part(1)})})
        first.save({"big": replace(BEGUN, parts={0: part(0), 1: part(100)})})
    with journal() as second:
        assert second.load()["big"].parts == {0: part(0), 1: part(100)}
        second.save({"big": replace(BEGUN, parts={0: part(0)})})
    with journal() as third:
        assert third.load()["big"].parts == {0: part(0)}


def test_a_file_of_10000_parts_and_20000_small_files_come_back(journal: Open) -> None:
    live: dict[int, tuple[str, str]] = {}
    small = {f"{n:06d}.csv": replace(WHOLE, source_stamp=f"mtime:{n}") for n in range(20_000)}
    with journal() as first:
        for start in range(0, 10_000, 500):
            live.update({n: part(n) for n in range(start, start + 500)})
            first.save({"big": replace(BEGUN, parts=live)})
        for start in range(0, len(small), 500):
            first.save(dict(list(small.items())[start : start + 500]))
    with journal() as second:
        found = second.load()
    assert found.pop("big").parts == live
    assert found == small


def test_threads_save_parts_while_others_add_to_them(journal: Open) -> None:
    live: dict[int, tuple[str, str]] = {}

    def send(number: int) -> None:
        live[number] = part(number)
        first.save({"big": replace(BEGUN, parts=live)})

    with journal() as first, ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(100)))
    with journal() as second:
        assert second.load()["big"].parts == {n: part(n) for n in range(100)}


# kills ----------------------------------------------------------------------------------------

CHILD = """
import sys, os
from pathlib import Path
from dataclasses import replace
from airflow_dataflow.transfer.journal import FileProgress
kind, place = sys.argv[1:3]
if kind == "catalog":
    from airflow_dataflow.datasets.catalog.catalog import Catalog
    from airflow_dataflow.transfer.catalog_journal import CatalogJournal
    journal = CatalogJournal(Catalog(place), "4f2a9c", "/to")
else:
    from airflow_dataflow.transfer.file_journal import FileJournal
    journal = FileJournal(Path(place), "4f2a9c", "/to")
begun = FileProgress(source_stamp="s", bytes=100, part_bytes=1, handle="h")
with journal:
    parts = {}
    for number in range(100):
        parts[number] = (str(number), "digest")
        journal.save({"big": replace(begun, parts=parts)})
        print(number, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def child() -> Any:
    """Return a function that begins a process which saves a part for each line that it is sent."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command: Sequence[str] = (sys.executable, "-c", CHILD, *arguments)
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def saved_by(process: subprocess.Popen[str], parts: int) -> None:
    for number in range(parts):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == f"{number}\n"
        if number < parts - 1:
            process.stdin.write("\n")
            process.stdin.flush()


def _check_kill(process: subprocess.Popen[str], again: Callable[[], LogJournal]) -> None:
    saved_by(process, 5)
    with pytest.raises(BusyError, match="another process is at work on the same transfer to /to"), again():
        pass
    process.kill()
    process.wait()
    with again() as journal:
        assert sorted(journal.load()["big"].parts) == [0, 1, 2, 3, 4]


def test_parts_in_a_catalog_survive_a_kill_and_are_free_at_once(child: Any, catalog_url: str) -> None:
    _check_kill(child("catalog", catalog_url), lambda: CatalogJournal(Catalog(catalog_url), "4f2a9c", "/to"))


def test_parts_in_a_file_survive_a_kill_and_are_free_at_once(child: Any, tmp_path: Path) -> None:
    _check_kill(child("file", str(tmp_path)), lambda: FileJournal(tmp_path, "4f2a9c", "/to"))


def test_a_line_that_a_kill_has_cut_is_cut_off_and_the_next_ones_count(tmp_path: Path) -> None:
    def journal() -> FileJournal:
        return FileJournal(tmp_path, "a", "/to")

    with journal() as first:
        first.save({"big": replace(BEGUN, parts={0: part(0)})})
        first.save({"big": replace(BEGUN, parts={0: part(0), 1: part(1)})})
    path = tmp_path / "a.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    with journal() as second:
        assert second.load()["big"].parts == {0: part(0)}
        second.save({"big": replace(BEGUN, parts={0: part(0), 2: part(2)})})
    with journal() as third:
        assert third.load()["big"].parts == {0: part(0), 2: part(2)}


def test_the_state_of_a_task_that_is_about_another_transfer_is_not_resumed() -> None:
    values = Values(progress="kept")
    with StateJournal(values, "a") as first:
        first.save({"big": replace(BEGUN, parts={n: part(n) for n in range(3000)})})
    assert max(len(str(value)) for value in values.values()) < 64 << 10
    with StateJournal(values, "b") as other:
        assert other.load() == {}
    assert values == {"progress": "kept"}


def test_a_transfer_is_for_one_at_a_time_and_other_transfers_are_free(tmp_path: Path) -> None:
    with FileJournal(tmp_path, "a", "/to"):
        with pytest.raises(BusyError), FileJournal(tmp_path, "a", "/to"):
            pass
        with FileJournal(tmp_path, "b", "/to"):
            pass
    with FileJournal(tmp_path, "a", "/to"):
        pass


# trouble --------------------------------------------------------------------------------------


class BrokenLog:
    """Lines that can be refused."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = False
        self.writing = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.writes = 0

    def open(self) -> None:
        pass

    def read(self) -> list[str]:
        return self.lines

    def append(self, lines: Sequence[str]) -> None:
        self.writing.set()
        assert self.go_on.wait(30)
        if self.broken:
            raise OSError("no space left")
        self.writes += 1
        self.lines += lines

    def clear(self) -> None:
        self.lines = []

    def close(self) -> None:
        pass


def test_a_transfer_goes_on_when_its_journal_cannot_be_written_and_what_it_lacks_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = BrokenLog()
    with LogJournal(lines) as journal:
        journal.save({"big": replace(BEGUN, parts={0: part(0)})})
        lines.broken = True
        for _ in range(3):
            journal.save({"big": replace(BEGUN, parts={0: part(0), 1: part(1)})})
        lines.broken = False
        journal.save({"other": BEGUN})
    assert LogJournal(lines).load()["big"].parts == {0: part(0), 1: part(1)}
    assert caplog.text.count("the journal of the transfer cannot be written") == 1


def test_what_is_saved_during_a_write_goes_together_with_the_next_one() -> None:
    lines = BrokenLog()
    lines.go_on.clear()
    with LogJournal(lines) as journal, ThreadPoolExecutor(9) as pool:
        first = pool.submit(journal.save, {"0": BEGUN})
        assert lines.writing.wait(30)
        others = [pool.submit(journal.save, {str(n): BEGUN}) for n in range(1, 9)]
        while journal._saved < 9:
            time.sleep(0.001)
        lines.go_on.set()
        for saved in (first, *others):
            saved.result(30)
        assert lines.writes == 2
    assert len(LogJournal(lines).load()) == 9
