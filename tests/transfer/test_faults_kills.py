"""Transfers that die at a hundred random moments: nothing half is visible, and the next run sends only what is missing.

Half of the moments are times, half are steps, see :mod:`tests.killing`; the seeds are in the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_dataflow.transfer.file_journal import FileJournal
from airflow_dataflow.transfer.limits import Control, Limits
from airflow_dataflow.transfer.report import TransferReport
from tests.killing import count_steps, killed_after, killed_at
from tests.services.faulty_proxy import FaultyProxy
from tests.transfer.faults import (
    FILES,
    OPTIONS,
    PART_BYTES,
    TOTAL_BYTES,
    WORKERS,
    Place,
    Way,
    assert_nothing_half,
    unfinished,
    use_small_parts,
)

KILLS = 10
"""Kills of one test; there are ten such tests."""
BYTES_PER_SECOND = 4 << 20
"""Slow enough for random moments to differ in what is done."""
CASES = [(way, how, seed) for way in ("up", "down") for how in ("time", "step") for seed in (1, 2)]
CASES += [("local", "time", 1), ("local", "step", 1)]

pytestmark = [pytest.mark.s3, pytest.mark.usefixtures("small")]


@pytest.fixture
def kill_way(request: pytest.FixtureRequest, near: Place, far: Place, tmp_path: Path) -> Way:
    """Return a way from a full folder to one below which each kill has a target of its own."""
    made = {"up": Way(near, far), "down": Way(far, near), "local": Way(near, Place(str(tmp_path / "other")))}
    way = made[request.param]
    way.source.fill(FILES)
    return way


def _transfer(way: Way, journal: Path, root: Path, *, limit: int | None = BYTES_PER_SECOND) -> TransferReport:
    """Copy, as a process does that may be killed; its steps are those on files below ``root``, and others."""
    control = Control(base=Limits(bytes_per_second=limit, parts_at_once=WORKERS))
    with FileJournal(journal, "one", way.target.url) as kept:
        report = way.run(options=OPTIONS, journal=kept, control=control)
        kept.clear()
    return report


def _act(way: Way, journal: Path, root: Path) -> None:
    use_small_parts()
    _transfer(way, journal, root)


@pytest.mark.parametrize(("kill_way", "how", "seed"), CASES, indirect=["kill_way"])
def test_a_killed_transfer_shows_nothing_half_and_goes_on_where_it_was(
    kill_way: Way, how: str, seed: int, tmp_path: Path, link: FaultyProxy, behind_client: Any
) -> None:
    draw = Random(f"{seed} {how} {kill_way.target.url.partition(':')[0]}")
    steps = count_steps(_act, _own(kill_way, "counted"), tmp_path / "counted", tmp_path) if how == "step" else 0
    died = 0
    for number in range(KILLS):
        way, journal = _own(kill_way, str(number)), tmp_path / f"journal-{number}"
        if how == "step":
            died += killed_at(draw.randint(1, steps), _act, way, journal, tmp_path)
        else:
            died += killed_after(draw.uniform(0.0, TOTAL_BYTES / BYTES_PER_SECOND), _act, way, journal, tmp_path)
        seen = assert_nothing_half(way.target)
        there = sum(map(len, seen.values())) + _bytes_of_parts(way.target, behind_client)
        moved = link.bytes_up + link.bytes_down
        report = _transfer(way, journal, tmp_path, limit=None)
        assert way.target.content() == FILES
        assert report.bytes_sent + report.bytes_resumed + report.bytes_skipped == TOTAL_BYTES, report
        assert report.bytes_sent <= TOTAL_BYTES - there + WORKERS * PART_BYTES, (report, there)
        if kill_way.target.past:
            # What the report says is what went over the link; requests that end uploads have small bodies of their own.
            assert report.bytes_sent <= link.bytes_up + link.bytes_down - moved <= report.bytes_sent + 200_000
        assert not list(journal.glob("*.jsonl")), "a journal of a transfer that is whole was kept"
        assert _bytes_of_parts(way.target, behind_client) <= WORKERS * PART_BYTES
    assert died >= KILLS // 2


def _own(way: Way, name: str) -> Way:
    return Way(way.source, way.target.child(name))


def _bytes_of_parts(target: Place, client: Any) -> int:
    """Return the bytes of the parts that unfinished uploads have at the target."""
    if target.past:
        return sum(_parts_on_s3(target, client))
    return sum(_parts_in_files(Path(target.url)))


def _parts_on_s3(target: Place, client: Any) -> Iterator[int]:
    bucket, _, prefix = target.url.removeprefix("s3://").partition("/")
    for upload in client.list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", []):
        which = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        yield from (part["Size"] for part in client.list_parts(**which).get("Parts", []))


def _parts_in_files(folder: Path) -> Iterator[int]:
    """Yield the sizes of the parts that hidden files have, which have the size of the whole file from the start."""
    contents = {len(content): content for content in FILES.values() if len(content) > PART_BYTES}
    for partial in unfinished(folder):
        found = partial.read_bytes()
        whole = contents.get(len(found), b"")
        for start in range(0, len(whole), PART_BYTES):
            end = min(start + PART_BYTES, len(whole))
            if found[start:end] == whole[start:end]:
                yield end - start


@pytest.mark.parametrize("kill_way", ["up", "down", "local"], indirect=True)
def test_a_transfer_that_is_killed_again_and_again_arrives_in_the_end(kill_way: Way, tmp_path: Path) -> None:
    way, draw = _own(kill_way, "again"), Random(7)
    kills = 0
    # A busy machine may need longer until anything is done at all.
    while killed_after(draw.uniform(0.1, 0.4) * (1 + kills / 15), _act, way, tmp_path / "journal", tmp_path):
        assert_nothing_half(way.target)
        kills += 1
        assert kills < 60, "the transfer gets nowhere"
    assert way.target.content() == FILES
