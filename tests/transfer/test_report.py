"""The report of a transfer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from airflow_dataflow.progress import no_progress
from airflow_dataflow.transfer.report import Tally, TransferReport


def test_the_report_is_the_json_that_programs_read() -> None:
    report = TransferReport(bytes_sent=1, bytes_resumed=2, bytes_skipped=3, files=4, parts_retried=5, seconds=0.5)
    assert json.dumps(report.to_dict()) == (
        '{"bytes_sent": 1, "bytes_resumed": 2, "bytes_skipped": 3, "files": 4, "parts_retried": 5, "seconds": 0.5}'
    )


def test_reports_add_up() -> None:
    one = TransferReport(bytes_sent=1, bytes_resumed=2, bytes_skipped=3, files=4, parts_retried=5, seconds=0.5)
    assert one + one == TransferReport(
        bytes_sent=2, bytes_resumed=4, bytes_skipped=6, files=8, parts_retried=10, seconds=1.0
    )
    assert one + TransferReport() == one


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
