"""The engine: files of any kind by many workers, in bounded memory, through trouble and under control."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_dataflow.errors import StorageFullError
from airflow_dataflow.storage.backends._local_parts import LocalUpload
from airflow_dataflow.transfer import retry
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError
from tests.storage.versions import tree
from tests.transfer.pieces import (
    FILES,
    LARGE,
    PART_BYTES,
    PARTS,
    SMALL_BYTES,
    TOTAL_BYTES,
    Notes,
    copy,
    failing,
    puts,
    reads,
)

pytestmark = pytest.mark.usefixtures("tiny_parts")


# files of any kind ----------------------------------------------------------------------------

_NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=20)
_PATHS = st.lists(_NAMES.filter(lambda name: name.strip(".") and len(name.encode()) < 100), min_size=1, max_size=3)
_SIZES = st.sampled_from([0, 1, SMALL_BYTES, SMALL_BYTES + 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
_TREES = st.dictionaries(_PATHS.map("/".join), st.tuples(_SIZES, st.integers(0, 3)), min_size=1, max_size=8)


def _fill(folder: Path, files: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    """Write files, but those whose path is another one's folder; return what was written."""
    written = {}
    for path, (size, seed) in files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(Random(seed).randbytes(size))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        written[path] = (folder / path).read_bytes()
    return {path: content for path, content in tree(folder).items() if path in written}


@given(wanted=_TREES, there=_TREES, mirror=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_arrives_byte_for_byte_and_then_needs_no_copy(
    wanted: Any, there: Any, mirror: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    files = _fill(folder / "from", wanted)
    # What is there may have the same paths with other contents, but no file where a folder is needed.
    before = _fill(folder / "to", {path: there[path] for path in wanted if path in there and path in files})
    before |= _fill(folder / "to" / "own", there)
    options = {"mirror": mirror, "most_removed_fraction": 1.0}
    total = sum(map(len, files.values()))
    first = copy(folder / "from", folder / "to", **options)
    assert first.bytes_sent + first.bytes_skipped == total
    found = tree(folder / "to")
    assert {path: found[path] for path in files} == files
    assert mirror is False or found == files
    again = copy(folder / "from", folder / "to", **options)
    assert (again.bytes_sent, again.bytes_skipped, again.files) == (0, total, len(files))


def test_a_store_without_parts_gets_one_stream(source: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    assert copy(source, url).bytes_sent == TOTAL_BYTES
    assert copy(url, tmp_path / "back").bytes_sent == TOTAL_BYTES
    assert tree(tmp_path / "back") == FILES
    assert copy(source, url).bytes_skipped == TOTAL_BYTES


class _Web(BaseHTTPRequestHandler):
    """A web server that knows no ranges, and of files named ``unsized`` no size."""

    protocol_version = "HTTP/1.1"
    content = LARGE * 500  # nearly 10 MB

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Accept-Ranges", "none")
        if "unsized" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        with suppress(ConnectionError):  # who asks for the size only goes away
            if "unsized" in self.path:
                self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.content), self.content))
            else:
                self.wfile.write(self.content)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize("name", ["sized", "unsized"])
def test_a_web_server_without_ranges_or_sizes_gives_whole_files(target: Path, name: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        report = copy_path(f"http://127.0.0.1:{server.server_port}/{name}", f"{target}/")
        server.shutdown()
    assert (target / name).read_bytes() == _Web.content
    assert report.bytes_sent == len(_Web.content)


# trouble --------------------------------------------------------------------------------------


def test_trouble_that_passes_is_survived(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_read, fail_put = failing(5, ConnectionResetError("reset")), failing(5, TimeoutError("slow"))
    puts(monkeypatch, fail_put)
    reads(monkeypatch, lambda _path, _start, data: fail_read() or data, source)
    report = copy(source, target)
    assert tree(target) == FILES
    assert (report.parts_retried, report.bytes_sent) == (10, TOTAL_BYTES)


def test_trouble_that_stays_ends_the_transfer(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.2)
    puts(monkeypatch, failing(10**9, ConnectionResetError("reset")))
    with pytest.raises(ConnectionResetError):
        copy(source, target)
    assert sorted(tree(target)) == ["empty", "small"]


def test_a_full_target_ends_the_transfer_at_once(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def fill(number: int) -> None:
        tries.append(number)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    puts(monkeypatch, fill)
    with pytest.raises(StorageFullError, match="no space left while writing large"):
        copy(source, target, journal=Notes(), parts_at_once=1)
    assert tries == [0]
    assert sorted(tree(target)) == ["empty", "small"]


# steering -------------------------------------------------------------------------------------


def test_a_stop_ends_the_transfer_within_seconds_although_a_request_hangs(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on, control = threading.Event(), threading.Event(), Control()

    def hang(_number: int) -> None:
        hangs.set()
        goes_on.wait(60)

    puts(monkeypatch, hang)

    def stop() -> None:
        hangs.wait(60)
        control.stop()

    threading.Thread(target=stop, daemon=True).start()
    start = time.monotonic()
    try:
        with pytest.raises(StoppedError):
            copy(source, target, control=control)
        assert time.monotonic() - start < 30
    finally:
        goes_on.set()
    assert "large" not in tree(target)


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_parts_are_in_flight_than_the_limit_says(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    here, most, lock = 0, 0, threading.Lock()
    original = LocalUpload.put

    def put(self: LocalUpload, number: int, data: bytes) -> str:
        nonlocal here, most
        with lock:
            here += 1
            most = max(most, here)
        time.sleep(0.005)
        try:
            return original(self, number, data)
        finally:
            with lock:
                here -= 1

    monkeypatch.setattr(LocalUpload, "put", put)
    copy(source, target, parts_at_once=at_once)
    assert most == at_once


def test_the_number_of_parts_in_flight_follows_its_limit_while_the_transfer_runs(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = iter([Limits(parts_at_once=1)] * 3)
    control = Control(lambda: next(limits, Limits(parts_at_once=4)), every_seconds=0.0)
    threads: list[int] = []

    def count(_number: int) -> None:
        threads.append(threading.active_count())
        time.sleep(0.02)

    puts(monkeypatch, count)
    before = threading.active_count()
    copy(source, target, control=control)
    assert max(threads) - before == 4
    assert tree(target) == FILES


def test_bytes_per_second_hold_a_transfer_back(source: Path, target: Path) -> None:
    start = time.monotonic()
    copy(source, target, bytes_per_second=2 * TOTAL_BYTES, parts_at_once=1)
    assert 0.2 <= time.monotonic() - start < 10
    assert tree(target) == FILES


# options --------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(source: Path, target: Path) -> None:
    notes = Notes()
    report = copy(source, target, dry_run=True, journal=notes)
    assert (report.bytes_sent, report.files, notes.files) == (TOTAL_BYTES, len(FILES), {})
    assert not target.exists()
    copy(source, target)
    report = copy(source, target, dry_run=True)
    assert (report.bytes_sent, report.bytes_skipped) == (0, TOTAL_BYTES)


def test_skipping_by_stamps_believes_size_and_time(source: Path, target: Path) -> None:
    copy(source, target)
    (target / "large").write_bytes(bytes(len(LARGE)))
    assert copy(source, target, skip="stamp").bytes_skipped == TOTAL_BYTES
    os.utime(target / "large", (0, 0))
    assert copy(source, target, skip="stamp").bytes_sent == len(LARGE)
    assert tree(target) == FILES


def test_progress_tells_of_each_part(source: Path, target: Path) -> None:
    told: list[tuple[int, int, str]] = []
    copy_path(str(source), str(target), progress=lambda _what, done, total, unit: told.append((done, total, unit)))
    done = [entry[0] for entry in told]
    assert done == sorted(done)
    assert len(set(done)) > PARTS
    assert told[-1] == (TOTAL_BYTES, TOTAL_BYTES, "bytes")


_MEASURED = """
import sys
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import TransferOptions
from tests.memory import peak_bytes
report = copy_path(sys.argv[1], sys.argv[2], options=TransferOptions(parts_at_once=64, verify="full"))
print(report.bytes_sent, peak_bytes())
"""


def test_memory_is_bounded_whatever_the_size_and_the_limits(tmp_path: Path) -> None:
    size = 1 << 30
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    run = [sys.executable, "-c", _MEASURED, str(tmp_path / "large"), str(tmp_path / "copy")]
    sent, memory = map(int, subprocess.run(run, check=True, capture_output=True, timeout=300).stdout.split())
    assert sent == size
    assert memory < 300 << 20


def test_many_small_files_take_no_longer_each_than_few(tmp_path: Path) -> None:
    seconds = []
    for count in (500, 5000):
        for number in range(count):
            folder = tmp_path / f"from-{count}" / str(number % 10)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(number)).write_bytes(b"x")
        start = time.process_time()
        assert copy(tmp_path / f"from-{count}", tmp_path / f"to-{count}", journal=Notes()).files == count
        seconds.append((time.process_time() - start) / count)
    assert seconds[1] < 2 * seconds[0]
