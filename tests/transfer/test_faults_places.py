"""Sources that change under way, full targets, forgetful disks: a clear error, nothing half, and then the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.errors import NotFoundError, SourceChangedError, StorageFullError
from airflow_dataflow.transfer.copy import copy_path
from tests.services.faulty_proxy import Fault, FaultyProxy
from tests.services.mounts import NotMountedError, mounted
from tests.services.packages import skip_without_packages
from tests.transfer.faults import (
    FILES,
    LARGE,
    OPTIONS,
    PART_BYTES,
    SMALL,
    OpenJournal,
    Place,
    Way,
    assert_nothing_half,
    unfinished,
)

OTHER = bytes(reversed(FILES[LARGE]))
"""Another content of the same size."""


def _replace(place: Place) -> None:
    place.fill({LARGE: OTHER})


def _remove(place: Place) -> None:
    place.inside.remove(LARGE)


def _rewrite(place: Place) -> None:
    """Write into the file that is there, without making another one."""
    with Path(place.url, LARGE).open("r+b") as file:
        file.seek(len(OTHER) // 2)
        file.write(OTHER[len(OTHER) // 2 :])


@pytest.mark.s3
@pytest.mark.parametrize(
    ("way", "change"),
    [("up", _replace), ("up", _remove), ("up", _rewrite), ("down", _replace), ("down", _remove), ("across", _replace)],
    indirect=["way"],
)
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_source_that_changes_under_way_ends_in_an_error_and_nothing_visible(
    way: Way, link: FaultyProxy, change: Callable[[Place], None], at: int
) -> None:
    moment = "PUT" if way.source.url.startswith("/") else "GET"
    link.inject(Fault(kind="act", method=moment, target="large.bin", skip=at, times=1, act=lambda: change(way.source)))
    with pytest.raises((SourceChangedError, NotFoundError), match=f"{LARGE}.* was re(placed|moved)|no file"):
        way.run()
    assert link.done == {"act": 1}
    seen = assert_nothing_half(way.target)
    assert LARGE not in seen
    link.clear()
    if change is _remove:
        way.source.fill({LARGE: OTHER})
    way.run()
    assert way.target.content() == FILES | {LARGE: way.source.inside.read(LARGE)}


@pytest.mark.s3
@pytest.mark.parametrize("way", ["up", "down"], indirect=True)
def test_parts_of_a_source_that_was_replaced_since_the_last_attempt_are_not_put_together(
    way: Way, link: FaultyProxy, journal: OpenJournal
) -> None:
    link.inject(Fault(kind="expired", target="large.bin", skip=6))
    with journal() as kept, pytest.raises(PermissionError):
        way.run(LARGE, journal=kept)
    link.clear()
    _replace(way.source)
    with journal() as kept:
        report = way.run(LARGE, journal=kept)
    assert way.target.content() == {LARGE: OTHER}
    assert (report.bytes_sent, report.bytes_resumed) == (len(OTHER), 0)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system that a filler has left little of."""
    try:
        with skip_without_packages(), mounted("ext4", 4 << 20, tmp_path) as point:
            free = os.statvfs(point)
            with (point / "filler").open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize - 6 * PART_BYTES)
            yield point
    except NotMountedError as error:
        pytest.skip(str(error))


@pytest.mark.mounts
@pytest.mark.parametrize("path", [LARGE, ""])
@pytest.mark.usefixtures("small")
def test_a_full_disk_is_told_and_the_next_run_goes_on_when_there_is_space(
    near: Place, full: Path, journal: OpenJournal, path: str
) -> None:
    near.fill(FILES)
    way = Way(near, Place(str(full / "target")))
    with journal() as kept, pytest.raises(StorageFullError, match=r"no space left .*bytes are free"):
        way.run(path, journal=kept)
    assert LARGE not in assert_nothing_half(way.target)
    (full / "filler").unlink()
    with journal() as kept:
        report = way.run(path, journal=kept)
    assert way.target.content() == ({path: FILES[path]} if path else FILES)
    assert report.bytes_sent + report.bytes_resumed + report.bytes_skipped == sum(
        map(len, way.target.content().values())
    )
    assert unfinished(full) == []


_FLIP = """
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(-1, 1)
    file.write(bytes([byte ^ 1]))
"""


class _Forgetful:
    """Flips a bit of the first part of a hidden file, once, from a process of its own."""

    def __init__(self, folder: Path, when_done_bytes: int) -> None:
        self._folder = folder
        self._when = when_done_bytes
        self.flipped = 0

    def __call__(self, what: str, done: int, total: int, unit: str) -> None:
        for partial in unfinished(self._folder) if done >= self._when and not self.flipped else ():
            if (
                partial.stat().st_size == len(FILES[LARGE])
                and partial.read_bytes()[:PART_BYTES] == FILES[LARGE][:PART_BYTES]
            ):
                subprocess.run([sys.executable, "-c", _FLIP, str(partial), "100"], check=True)
                self.flipped += 1


@pytest.mark.usefixtures("small")
def test_a_bit_that_the_disk_loses_before_the_file_is_published_is_found_and_written_again(
    near: Place, tmp_path: Path
) -> None:
    near.fill({LARGE: FILES[LARGE]})
    way = Way(near, Place(str(tmp_path / "target")))
    disk = _Forgetful(tmp_path / "target", 5 * PART_BYTES)
    report = way.run(LARGE, progress=disk)
    assert disk.flipped == 1
    assert way.target.content() == {LARGE: FILES[LARGE]}
    assert report.parts_retried >= 1


@pytest.mark.usefixtures("small")
def test_a_part_that_the_disk_loses_between_two_attempts_is_sent_again(
    near: Place, tmp_path: Path, journal: OpenJournal
) -> None:
    near.fill({LARGE: FILES[LARGE]})
    way = Way(near, Place(str(tmp_path / "target")))

    def stop(what: str, done: int, total: int, unit: str) -> None:
        if done >= 5 * PART_BYTES:
            raise KeyboardInterrupt

    with journal() as kept, pytest.raises(KeyboardInterrupt):
        way.run(LARGE, journal=kept, progress=stop)
    (partial,) = unfinished(tmp_path / "target")
    found = bytearray(partial.read_bytes())
    for number in range(2):
        found[number * PART_BYTES + 5] ^= 4
    partial.write_bytes(found)
    with journal() as kept:
        report = way.run(LARGE, journal=kept)
    assert way.target.content() == {LARGE: FILES[LARGE]}
    assert 0 < report.bytes_resumed < len(FILES[LARGE])


def test_a_small_file_that_another_process_changes_at_the_target_is_copied_again(near: Place, tmp_path: Path) -> None:
    near.fill({SMALL: FILES[SMALL]})
    target = tmp_path / "target"
    copy_path(near.url, str(target), options=OPTIONS)
    subprocess.run([sys.executable, "-c", _FLIP, str(target / SMALL), "3"], check=True)
    report: Any = copy_path(near.url, str(target), options=OPTIONS)
    assert (target / SMALL).read_bytes() == FILES[SMALL]
    assert report.bytes_sent == len(FILES[SMALL])
