"""The report of a transfer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from airflow_dataflow.progress import no_progress
from airflow_dataflow.transfer.report import Tally, TransferReport

REPORT = TransferReport(
    bytes_sent=1,
    bytes_resumed=2,
    bytes_skipped=3,
    files=4,
    parts_retried=5,
    seconds=0.5,
    files_removed=6,
    bytes_stored=7,
)


def test_the_report_is_the_json_that_programs_read() -> None:
    assert json.dumps(REPORT.to_dict()) == (
        '{"bytes_sent": 1, "bytes_resumed": 2, "bytes_skipped": 3, "files": 4, "parts_retried": 5, "seconds": 0.5, '
        '"files_removed": 6, "bytes_stored": 7}'
    )


def test_reports_add_up() -> None:
    assert TransferReport(**{name: 2 * value for name, value in REPORT.to_dict().items()}) == REPORT + REPORT
    assert REPORT + TransferReport() == REPORT


def test_parts_add_up_to_a_file_and_are_told_one_by_one() -> None:
    told: list[tuple[int, int]] = []
    tally = Tally("copy", 30, lambda _what, done, total, _unit: told.append((done, total)))
    for count in (tally.part_sent, tally.part_resumed, tally.part_sent):
        count(10)
    tally.whole()
    tally.stored(5)
    tally.removed()
    report = tally.report()
    assert (report.files, report.bytes_sent, report.bytes_resumed) == (1, 20, 10)
    assert (report.bytes_stored, report.files_removed) == (5, 1)
    assert told == [(10, 30), (20, 30), (30, 30), (30, 30)]


def test_counts_from_several_threads_are_all_there() -> None:
    tally = Tally("copy", 6000, no_progress)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(1000):
            pool.submit(tally.sent, 1)
            pool.submit(tally.resumed, 2)
            pool.submit(tally.skipped, 3)
            pool.submit(tally.retried)
    report = tally.report()
    assert (report.bytes_sent, report.bytes_resumed, report.bytes_skipped) == (1000, 2000, 3000)
    assert (report.files, report.parts_retried) == (3000, 1000)
    assert report.seconds >= 0
