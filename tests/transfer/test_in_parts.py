"""Files in parts: resumed, pinned to one state of the source, and sent again where they were damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_dataflow.errors import CorruptDataError, SourceChangedError, TransferError
from airflow_dataflow.storage.backends._local_parts import LocalUpload
from airflow_dataflow.storage.backends.local import LocalBackend
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import LostUploadError
from airflow_dataflow.transfer import small
from airflow_dataflow.transfer.copy import copy_version_files
from airflow_dataflow.transfer.file_journal import FileJournal
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport
from tests.killing import killed_at, steps_of
from tests.storage.versions import FIRST, make_version, open_store, settled, tree
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
    flipped,
    puts,
    reads,
)

pytestmark = pytest.mark.usefixtures("tiny_parts")


# resuming -------------------------------------------------------------------------------------


def _stopped_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> Control:
    """Return a control by which somebody stops the transfer after some parts, one of which is in flight at a time."""
    control = Control(base=Limits(parts_at_once=1))
    left = iter(range(parts - 1))
    puts(monkeypatch, lambda _number: control.stop() if next(left, None) is None else None)
    return control


def _resumable(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, parts: int = 7) -> Notes:
    """Return the journal of a transfer that was stopped after some parts of its large file."""
    notes = Notes()
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        copy(source, target, journal=notes, control=_stopped_after(parts, patch))
    assert set(tree(target)) >= {"small", "empty"}
    assert "large" not in tree(target)
    return notes


def test_a_stopped_transfer_goes_on_with_the_next_part(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = _resumable(source, target, monkeypatch)
    report = copy(source, target, journal=notes)
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
    report = copy(source, target, journal=notes)
    assert tree(target) == FILES
    assert report.bytes_resumed == 6 * PART_BYTES + SMALL_BYTES


def test_a_source_that_changed_between_attempts_is_sent_anew(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = _resumable(source, target, monkeypatch)
    changed = LARGE[::-1]
    (source / "large").write_bytes(changed)
    report = copy(source, target, journal=notes)
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
    copy(source, target, journal=notes)
    assert {path: content for path, content in tree(target).items() if not path.startswith(".")} == FILES


def test_what_the_journal_knows_is_not_read_again(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    monkeypatch.setattr(notes, "clear", lambda: None)
    copy(source, target, journal=notes)
    monkeypatch.setattr(Directory, "open", lambda *_args: pytest.fail("read"))
    monkeypatch.setattr(Directory, "read_range", lambda *_args, **_options: pytest.fail("read"))
    report = copy(source, target, journal=notes)
    assert (report.bytes_resumed, report.bytes_sent, report.files) == (TOTAL_BYTES, 0, len(FILES))


def test_a_target_that_changed_since_is_read_although_the_journal_knows_it(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    monkeypatch.setattr(notes, "clear", lambda: None)
    copy(source, target, journal=notes)
    (target / "large").write_bytes(bytes(len(LARGE)))
    assert copy(source, target, journal=notes).bytes_sent == len(LARGE)
    assert tree(target) == FILES


def test_nothing_is_left_of_a_failed_transfer_without_a_journal(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoppedError):
        copy(source, target, control=_stopped_after(3, monkeypatch))
    assert sorted(tree(target)) == ["empty", "small"]


WORKERS = 3


def _act(source: Path, target: Path, journals: Path) -> TransferReport:
    """Copy in a process of its own, which may be killed, or in this one."""
    with FileJournal(journals, "one", str(target)) as journal:
        return copy(source, target, journal=journal, parts_at_once=WORKERS)


def _act_alone(source: Path, target: Path, journals: Path) -> None:
    LocalBackend.part_bytes = lambda _self, _size: PART_BYTES  # type: ignore[method-assign,assignment]
    vars(small)["SMALL_FILE_BYTES"] = SMALL_BYTES
    _act(source, target, journals)


def test_a_transfer_killed_at_any_step_sends_at_most_one_part_of_each_worker_again(
    source: Path, tmp_path: Path
) -> None:
    def kill(step: int) -> bool:
        return killed_at(step, _act_alone, source, tmp_path / str(step), tmp_path / f"journal-{step}")

    for step in steps_of(kill, every=9):
        target = tmp_path / str(step)
        assert settled(tree(target)).items() <= FILES.items()
        written = sum(_parts_there(hidden) for hidden in target.glob(".*.partial")) * PART_BYTES
        whole = sum(map(len, settled(tree(target)).values()))
        report = _act(source, target, tmp_path / f"journal-{step}")
        assert settled(tree(target)) == FILES
        assert report.bytes_sent + report.bytes_resumed + report.bytes_skipped == TOTAL_BYTES
        assert report.bytes_sent <= TOTAL_BYTES - written - whole + WORKERS * PART_BYTES


def _parts_there(hidden: Path) -> int:
    """Return how many parts of the large file a hidden file has."""
    found = hidden.read_bytes()
    places = range(0, len(LARGE), PART_BYTES)
    return sum(found[start : start + PART_BYTES] == LARGE[start : start + PART_BYTES] for start in places)


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

    puts(monkeypatch, act)
    with pytest.raises(SourceChangedError, match=r"large was (replaced|removed) while it was being copied"):
        copy(source, target, journal=journal)
    assert sorted(tree(target)) == ["empty", "small"]


def test_a_source_that_grows_after_its_last_part_was_read_is_noticed(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(number: int) -> None:
        if number == PARTS - 1:
            with (source / "large").open("ab") as file:
                file.write(b"more")

    puts(monkeypatch, act)
    with pytest.raises(SourceChangedError):
        copy(source, target, parts_at_once=1)
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
        return flipped(data) if (path, start) == (made.files[0].path, 3000) and next(harm, False) else data

    reads(monkeypatch, change, Path(here.root))
    report = copy_version_files(made, here, there)
    assert (report.parts_retried, report.bytes_sent) == (1, made.total_bytes)
    assert tree(Path(there.root)) == tree(Path(here.root))


def test_a_small_file_that_came_damaged_is_read_again(version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, here, there = version
    monkeypatch.setattr(small, "SMALL_FILE_BYTES", 1 << 20)
    harm = iter([True])
    reads(monkeypatch, lambda _path, _start, data: flipped(data) if next(harm, False) else data, Path(here.root))
    report = copy_version_files(made, here, there)
    assert (report.parts_retried, report.bytes_sent) == (1, made.total_bytes)
    assert tree(Path(there.root)) == tree(Path(here.root))


@pytest.mark.parametrize("size", [SMALL_BYTES, 1 << 20])
def test_a_source_that_is_wrong_each_time_is_corrupt(version: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    made, here, there = version
    monkeypatch.setattr(small, "SMALL_FILE_BYTES", size)
    path = Path(here.root, made.files[1].path)
    path.write_bytes(flipped(path.read_bytes()))
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
    reads(monkeypatch, lambda name, _s, data: draw.randbytes(len(data)) if name == path else data, Path(here.root))
    with pytest.raises(TransferError, match="has other bytes each time it is read"):
        copy_version_files(made, here, there)
    assert path not in there.files()


def _damaging(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let parts arrive damaged."""
    left = iter(range(times))
    original = LocalUpload.put

    def put(self: LocalUpload, number: int, data: bytes) -> str:
        return original(self, number, data if next(left, None) is None else flipped(data))

    monkeypatch.setattr(LocalUpload, "put", put)


@pytest.mark.parametrize("shows", [True, False])
def test_a_part_that_arrived_damaged_is_sent_again(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    if not shows:
        monkeypatch.setattr(LocalUpload, "read", lambda _self, _number: None)
    _damaging(monkeypatch, 1)
    report = copy(source, target)
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
        return flipped(data) if (path, start) == ("large", 0) and seen.count(("large", 0)) == 2 else data

    reads(monkeypatch, change, source)
    assert copy(source, target, parts_at_once=1).parts_retried == 2
    assert tree(target) == FILES


@pytest.mark.parametrize("shows", [True, False])
def test_parts_that_always_arrive_damaged_end_the_transfer(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    if not shows:
        monkeypatch.setattr(LocalUpload, "read", lambda _self, _number: None)
    _damaging(monkeypatch, 10**6)
    with pytest.raises(TransferError, match=r"part \d+ of .*/target/large reads back differently"):
        copy(source, target)
    assert sorted(tree(target)) == ["empty", "small"]


def test_parts_that_have_to_come_in_order_do_so_and_damage_brings_all_of_them_again(
    version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, here, there = version
    monkeypatch.setattr(LocalUpload, "in_order", True)
    order: list[int] = []
    puts(monkeypatch, order.append)
    harm = iter([True])
    first = made.files[0]
    reads(
        monkeypatch,
        lambda path, start, data: flipped(data) if (path, start) == (first.path, 2000) and next(harm, False) else data,
        Path(here.root),
    )
    copy_version_files(made, here, there, options=TransferOptions(parts_at_once=4))
    assert tree(Path(there.root)) == tree(Path(here.root))
    parts = [list(range(-(-entry.bytes // PART_BYTES))) for entry in made.files if entry.bytes]
    assert sorted(order) == sorted(number for numbers in [*parts, parts[0]] for number in numbers)


def test_an_upload_that_got_lost_is_begun_anew(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, fail = LocalUpload.publish, failing(1, LostUploadError("gone"))

    def publish(self: LocalUpload, tokens: Any, **options: Any) -> None:
        fail()
        original(self, tokens, **options)

    monkeypatch.setattr(LocalUpload, "publish", publish)
    assert copy(source, target).parts_retried == PARTS
    assert tree(target) == FILES
