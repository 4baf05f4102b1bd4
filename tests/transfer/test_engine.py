"""The engine: files in parts by many workers, resumed, verified, and never half."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_dataflow.errors import CorruptDataError, SourceChangedError, StorageFullError, TransferError
from airflow_dataflow.storage.backends._local_parts import LocalUpload
from airflow_dataflow.storage.backends.local import LocalBackend
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import LostUploadError
from airflow_dataflow.transfer import retry, small
from airflow_dataflow.transfer.copy import copy_path, copy_version_files
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport
from tests.storage.versions import FIRST, make_version, open_store, tree

PART_BYTES, SMALL_BYTES = 1000, 100
PARTS = 20
LARGE = Random(4).randbytes(PARTS * PART_BYTES - 10)
FILES = {"large": LARGE, "small": b"x" * SMALL_BYTES, "empty": b""}
TOTAL_BYTES = sum(map(len, FILES.values()))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files have parts although they are small, and let retries come soon."""
    monkeypatch.setattr(LocalBackend, "part_bytes", lambda _self, _size: PART_BYTES)
    monkeypatch.setattr(small, "SMALL_FILE_BYTES", SMALL_BYTES)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with a file of several parts, a small one and an empty one."""
    (tmp_path / "source").mkdir()
    for path, content in FILES.items():
        (tmp_path / "source" / path).write_bytes(content)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a folder that is not there yet."""
    return tmp_path / "target"


class Notes:
    """A journal in memory, which outlives transfers that fail."""

    def __init__(self) -> None:
        self.files: dict[str, FileProgress] = {}

    def load(self) -> dict[str, FileProgress]:
        """Return what was saved."""
        return dict(self.files)

    def save(self, files: Mapping[str, FileProgress]) -> None:
        """Keep a copy, as what is saved changes."""
        for path, progress in files.items():
            self.files[path] = FileProgress(**{**vars(progress), "parts": dict(progress.parts)})

    def clear(self) -> None:
        """Forget all."""
        self.files = {}


def _copy(source: Path | str, target: Path | str, **options: Any) -> TransferReport:
    how = {name: options.pop(name) for name in ("journal", "control") if name in options}
    return copy_path(str(source), str(target), options=TransferOptions(**options), **how)


def _puts(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Call ``act`` with the number of each part right after it was written."""
    original = LocalUpload.put

    def put(self: LocalUpload, number: int, data: Any) -> str:
        token = original(self, number, data)
        act(number)
        return token

    monkeypatch.setattr(LocalUpload, "put", put)


def _reads(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, int, bytes], bytes], root: Path) -> None:
    """Let ``change`` return what is read below ``root``, from path, first byte, and what is truly there."""
    original = Directory.read_range

    def read_range(self: Directory, relative: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        data = original(self, relative, start, length, pin=pin)
        return change(relative, start, data) if self.root == str(root) else data

    monkeypatch.setattr(Directory, "read_range", read_range)


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else data


def _failing(times: int, error: Exception) -> Callable[..., None]:
    left = iter(range(times))

    def fail(*_args: Any) -> None:
        if next(left, None) is not None:
            raise error

    return fail


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
    first = _copy(folder / "from", folder / "to", **options)
    assert first.bytes_sent + first.bytes_skipped == total
    found = tree(folder / "to")
    assert {path: found[path] for path in files} == files
    assert mirror is False or found == files
    again = _copy(folder / "from", folder / "to", **options)
    assert (again.bytes_sent, again.bytes_skipped, again.files) == (0, total, len(files))


def test_a_store_without_parts_gets_one_stream(source: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    assert _copy(source, url).bytes_sent == TOTAL_BYTES
    assert _copy(url, tmp_path / "back").bytes_sent == TOTAL_BYTES
    assert tree(tmp_path / "back") == FILES
    assert _copy(source, url).bytes_skipped == TOTAL_BYTES


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


# resuming -------------------------------------------------------------------------------------


def _stopped_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> Control:
    """Return a control by which somebody stops the transfer after some parts, one of which is in flight at a time."""
    control = Control(base=Limits(parts_at_once=1))
    left = iter(range(parts - 1))
    _puts(monkeypatch, lambda _number: control.stop() if next(left, None) is None else None)
    return control


def _resumable(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, parts: int = 7) -> Notes:
    """Return the journal of a transfer that was stopped after some parts of its large file."""
    notes = Notes()
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        _copy(source, target, journal=notes, control=_stopped_after(parts, patch))
    assert set(tree(target)) >= {"small", "empty"}
    assert "large" not in tree(target)
    return notes


def test_a_stopped_transfer_goes_on_with_the_next_part(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = _resumable(source, target, monkeypatch)
    report = _copy(source, target, journal=notes)
    assert tree(target) == FILES
    resumed = 7 * PART_BYTES + SMALL_BYTES
    assert (report.bytes_resumed, report.bytes_sent, report.parts_retried) == (resumed, TOTAL_BYTES - resumed, 0)
    assert notes.files == {}


def test_a_part_that_was_damaged_since_is_sent_again(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = _resumable(source, target, monkeypatch)
    (hidden,) = target.glob(".*.partial")
    with hidden.open("r+b") as file:
        file.seek(2 * PART_BYTES)
        file.write(bytes(10))
    report = _copy(source, target, journal=notes)
    assert tree(target) == FILES
    assert report.bytes_resumed == 6 * PART_BYTES + SMALL_BYTES


def test_a_source_that_changed_between_attempts_is_sent_anew(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = _resumable(source, target, monkeypatch)
    changed = LARGE[::-1]
    (source / "large").write_bytes(changed)
    report = _copy(source, target, journal=notes)
    assert tree(target) == FILES | {"large": changed}
    assert report.bytes_sent == len(LARGE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda progress: {**vars(progress), "handle": "nonsense"},
        lambda progress: {**vars(progress), "part_bytes": 0},
        lambda progress: {**vars(progress), "parts": {99: ("1000", "xxh3-128:0"), **progress.parts}},
        lambda progress: {**vars(progress), "bytes": 5},
    ],
)
def test_a_journal_that_makes_no_sense_harms_nothing(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[FileProgress], dict[str, Any]]
) -> None:
    notes = _resumable(source, target, monkeypatch)
    key = f"{target}/large"
    notes.files[key] = FileProgress(**spoil(notes.files[key]))
    _copy(source, target, journal=notes)
    assert {path: content for path, content in tree(target).items() if not path.startswith(".")} == FILES


def test_what_the_journal_knows_is_not_read_again(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    monkeypatch.setattr(notes, "clear", lambda: None)
    _copy(source, target, journal=notes)
    monkeypatch.setattr(Directory, "open", lambda *_args: pytest.fail("read"))
    monkeypatch.setattr(Directory, "read_range", lambda *_args, **_options: pytest.fail("read"))
    report = _copy(source, target, journal=notes)
    assert (report.bytes_resumed, report.bytes_sent, report.files) == (TOTAL_BYTES, 0, len(FILES))


def test_a_target_that_changed_since_is_read_although_the_journal_knows_it(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    monkeypatch.setattr(notes, "clear", lambda: None)
    _copy(source, target, journal=notes)
    (target / "large").write_bytes(bytes(len(LARGE)))
    assert _copy(source, target, journal=notes).bytes_sent == len(LARGE)
    assert tree(target) == FILES


def test_nothing_is_left_of_a_failed_transfer_without_a_journal(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoppedError):
        _copy(source, target, control=_stopped_after(3, monkeypatch))
    assert sorted(tree(target)) == ["empty", "small"]


# sources that change --------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["replaced", "removed", "rewritten"])
@pytest.mark.parametrize("journal", [None, Notes()])
def test_a_source_that_changes_under_way_ends_in_an_error_and_no_target(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, change: str, journal: Notes | None
) -> None:
    file = source / "large"

    def act(number: int) -> None:
        if number != 5:
            return
        if change == "replaced":
            (source / "new").write_bytes(LARGE[::-1])
            (source / "new").replace(file)
        elif change == "rewritten":
            file.write_bytes(LARGE[::-1])
        else:
            file.unlink(missing_ok=True)

    _puts(monkeypatch, act)
    with pytest.raises(SourceChangedError, match=r"large was (replaced|removed) while it was being copied"):
        _copy(source, target, journal=journal)
    assert sorted(tree(target)) == ["empty", "small"]


def test_a_source_that_grows_after_its_last_part_was_read_is_noticed(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(number: int) -> None:
        if number == PARTS - 1:
            with (source / "large").open("ab") as file:
                file.write(b"more")

    _puts(monkeypatch, act)
    with pytest.raises(SourceChangedError):
        _copy(source, target, parts_at_once=1)
    assert "large" not in tree(target)


# bytes that change ----------------------------------------------------------------------------


@pytest.fixture
def version(tmp_path: Path) -> Any:
    """Return a version of a few parts, its folder, and an empty one."""
    store = open_store(tmp_path)
    made = make_version(store, FIRST)
    return made, store.directory(made), Directory.from_url(str(tmp_path / "public"))


def test_a_part_that_came_damaged_from_the_source_is_found_and_sent_again(
    version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, here, there = version
    harm = iter([True])

    def change(path: str, start: int, data: bytes) -> bytes:
        return _flipped(data) if (path, start) == (made.files[0].path, 3000) and next(harm, False) else data

    _reads(monkeypatch, change, Path(here.root))
    report = copy_version_files(made, here, there)
    assert (report.parts_retried, report.bytes_sent) == (1, made.total_bytes)
    assert tree(Path(there.root)) == tree(Path(here.root))


def test_a_small_file_that_came_damaged_is_read_again(version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, here, there = version
    monkeypatch.setattr(small, "SMALL_FILE_BYTES", 1 << 20)
    harm = iter([True])
    _reads(monkeypatch, lambda _path, _start, data: _flipped(data) if next(harm, False) else data, Path(here.root))
    report = copy_version_files(made, here, there)
    assert (report.parts_retried, report.bytes_sent) == (1, made.total_bytes)
    assert tree(Path(there.root)) == tree(Path(here.root))


@pytest.mark.parametrize("size", [SMALL_BYTES, 1 << 20])
def test_a_source_that_is_wrong_each_time_is_corrupt(version: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    made, here, there = version
    monkeypatch.setattr(small, "SMALL_FILE_BYTES", size)
    path = Path(here.root, made.files[1].path)
    path.write_bytes(_flipped(path.read_bytes()))
    with pytest.raises(CorruptDataError, match=r"its manifest says .*; restore it from another copy"):
        copy_version_files(made, here, there)
    assert made.files[1].path not in there.files()
    assert not list(Path(there.root).rglob(".*.partial"))


def test_a_source_that_is_wrong_in_another_way_each_time_is_given_up(
    version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, here, there = version
    draw = Random(1)
    path = made.files[0].path
    _reads(monkeypatch, lambda name, _s, data: draw.randbytes(len(data)) if name == path else data, Path(here.root))
    with pytest.raises(TransferError, match="has other bytes each time it is read"):
        copy_version_files(made, here, there)
    assert path not in there.files()


def _damaging(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let parts arrive damaged."""
    left = iter(range(times))
    original = LocalUpload.put

    def put(self: LocalUpload, number: int, data: bytes) -> str:
        return original(self, number, data if next(left, None) is None else _flipped(data))

    monkeypatch.setattr(LocalUpload, "put", put)


@pytest.mark.parametrize("shows", [True, False])
def test_a_part_that_arrived_damaged_is_sent_again(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    if not shows:
        monkeypatch.setattr(LocalUpload, "read", lambda _self, _number: None)
    _damaging(monkeypatch, 1)
    report = _copy(source, target)
    assert tree(target) == FILES
    # Where nobody can look before the end, all parts are sent again.
    assert (report.parts_retried, report.bytes_sent) == (1 if shows else PARTS, TOTAL_BYTES)


def test_a_part_that_came_damaged_when_it_was_read_again_is_found(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _damaging(monkeypatch, 1)
    seen: list[tuple[str, int]] = []

    def change(path: str, start: int, data: bytes) -> bytes:
        seen.append((path, start))
        return _flipped(data) if (path, start) == ("large", 0) and seen.count(("large", 0)) == 2 else data

    _reads(monkeypatch, change, source)
    assert _copy(source, target, parts_at_once=1).parts_retried == 2
    assert tree(target) == FILES


@pytest.mark.parametrize("shows", [True, False])
def test_parts_that_always_arrive_damaged_end_the_transfer(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    if not shows:
        monkeypatch.setattr(LocalUpload, "read", lambda _self, _number: None)
    _damaging(monkeypatch, 10**6)
    with pytest.raises(TransferError, match=r"part \d+ of .*/target/large reads back differently"):
        _copy(source, target)
    assert sorted(tree(target)) == ["empty", "small"]


def test_parts_that_have_to_come_in_order_do_so_and_damage_brings_all_of_them_again(
    version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, here, there = version
    monkeypatch.setattr(LocalUpload, "in_order", True)
    order: list[int] = []
    _puts(monkeypatch, order.append)
    harm = iter([True])
    first = made.files[0]
    _reads(
        monkeypatch,
        lambda path, start, data: _flipped(data) if (path, start) == (first.path, 2000) and next(harm, False) else data,
        Path(here.root),
    )
    copy_version_files(made, here, there, options=TransferOptions(parts_at_once=4))
    assert tree(Path(there.root)) == tree(Path(here.root))
    parts = [list(range(-(-entry.bytes // PART_BYTES))) for entry in made.files if entry.bytes]
    assert sorted(order) == sorted(number for numbers in [*parts, parts[0]] for number in numbers)


def test_an_upload_that_got_lost_is_begun_anew(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, fail = LocalUpload.publish, _failing(1, LostUploadError("gone"))

    def publish(self: LocalUpload, tokens: Any, **options: Any) -> None:
        fail()
        original(self, tokens, **options)

    monkeypatch.setattr(LocalUpload, "publish", publish)
    assert _copy(source, target).parts_retried == PARTS
    assert tree(target) == FILES


# trouble --------------------------------------------------------------------------------------


def test_trouble_that_passes_is_survived(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_read, fail_put = _failing(5, ConnectionResetError("reset")), _failing(5, TimeoutError("slow"))
    _puts(monkeypatch, fail_put)
    _reads(monkeypatch, lambda _path, _start, data: fail_read() or data, source)
    report = _copy(source, target)
    assert tree(target) == FILES
    assert (report.parts_retried, report.bytes_sent) == (10, TOTAL_BYTES)


def test_trouble_that_stays_ends_the_transfer(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.2)
    _puts(monkeypatch, _failing(10**9, ConnectionResetError("reset")))
    with pytest.raises(ConnectionResetError):
        _copy(source, target)
    assert sorted(tree(target)) == ["empty", "small"]


def test_a_full_target_ends_the_transfer_at_once(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def fill(number: int) -> None:
        tries.append(number)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _puts(monkeypatch, fill)
    with pytest.raises(StorageFullError, match="no space left while writing large"):
        _copy(source, target, journal=Notes(), parts_at_once=1)
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

    _puts(monkeypatch, hang)

    def stop() -> None:
        hangs.wait(60)
        control.stop()

    threading.Thread(target=stop, daemon=True).start()
    start = time.monotonic()
    try:
        with pytest.raises(StoppedError):
            _copy(source, target, control=control)
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
    _copy(source, target, parts_at_once=at_once)
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

    _puts(monkeypatch, count)
    before = threading.active_count()
    _copy(source, target, control=control)
    assert max(threads) - before == 4
    assert tree(target) == FILES


def test_bytes_per_second_hold_a_transfer_back(source: Path, target: Path) -> None:
    start = time.monotonic()
    _copy(source, target, bytes_per_second=2 * TOTAL_BYTES, parts_at_once=1)
    assert 0.2 <= time.monotonic() - start < 10
    assert tree(target) == FILES


# options --------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(source: Path, target: Path) -> None:
    notes = Notes()
    report = _copy(source, target, dry_run=True, journal=notes)
    assert (report.bytes_sent, report.files, notes.files) == (TOTAL_BYTES, len(FILES), {})
    assert not target.exists()
    _copy(source, target)
    report = _copy(source, target, dry_run=True)
    assert (report.bytes_sent, report.bytes_skipped) == (0, TOTAL_BYTES)


def test_skipping_by_stamps_believes_size_and_time(source: Path, target: Path) -> None:
    _copy(source, target)
    (target / "large").write_bytes(bytes(len(LARGE)))
    assert _copy(source, target, skip="stamp").bytes_skipped == TOTAL_BYTES
    os.utime(target / "large", (0, 0))
    assert _copy(source, target, skip="stamp").bytes_sent == len(LARGE)
    assert tree(target) == FILES


def test_progress_tells_of_each_part(source: Path, target: Path) -> None:
    told: list[tuple[int, int, str]] = []
    copy_path(str(source), str(target), progress=lambda _what, done, total, unit: told.append((done, total, unit)))
    done = [entry[0] for entry in told]
    assert done == sorted(done)
    assert len(set(done)) > PARTS
    assert told[-1] == (TOTAL_BYTES, TOTAL_BYTES, "bytes")


_MEASURED = """
import resource, sys
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import TransferOptions
report = copy_path(sys.argv[1], sys.argv[2], options=TransferOptions(parts_at_once=64, verify="full"))
print(report.bytes_sent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
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
        assert _copy(tmp_path / f"from-{count}", tmp_path / f"to-{count}", journal=Notes()).files == count
        seconds.append((time.process_time() - start) / count)
    assert seconds[1] < 2 * seconds[0]
