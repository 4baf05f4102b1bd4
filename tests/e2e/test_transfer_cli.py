"""``dataflow transfer`` and ``TransferOperator``, killed at 40 %: the next attempt moves the missing parts only."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_dataflow.demo.services import BUCKET
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.records import replay
from tests.e2e.conftest import TRANSFER_DAG, TRANSFER_WORKERS, Harness, Kill

SIZES = {"large.bin": 96 << 20} | {f"small/{number:02}.bin": 300_000 for number in range(30)}
TOTAL_BYTES = sum(SIZES.values())
BYTES_PER_SECOND = 40 << 20
KILLED_AT = 0.4
WORKERS = 4
"""Parts at once; a kill may cost so many."""
_DEADLINE_SECONDS = 120


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a large file and many small ones."""
    folder = tmp_path_factory.mktemp("content")
    draw = Random(4)
    for path, size in SIZES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(draw.randbytes(size))
    return folder


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the journals of this test lie."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("DATAFLOW_STORE", raising=False)
    return tmp_path / "state"


class Command:
    """``dataflow transfer`` as a process."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "airflow_dataflow.cli.main", "transfer", *map(str, arguments)]
        self._process = subprocess.Popen(
            [*command, "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, str, str]:
        """Wait for the end and return the exit code and what was printed to both streams."""
        out, error = self._process.communicate(timeout=_DEADLINE_SECONDS)
        return self._process.returncode, out, error

    def report(self) -> dict[str, Any]:
        """Wait for the end, which has to be a good one, and return the numbers."""
        code, out, error = self.end()
        assert code == 0, error
        return dict(json.loads(out))

    def signal_when(self, number: signal.Signals, ready: Callable[[], bool]) -> None:
        """Send a signal when the moment has come."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not ready():
            assert self._process.poll() is None, f"too late: {self.end()}"
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.01)
        self._process.send_signal(number)


class Far:
    """A folder on the S3 server, and how much of it is there."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url.replace("://", "://aws_default@")
        """How the command line gets there."""
        self._directory = Directory.from_url(url, dict(options))

    def bytes_there(self) -> int:
        """Return the bytes of whole files and of the parts of unfinished ones."""
        return sum(self._directory.files().values()) + sum(self._parts())

    def _parts(self) -> list[int]:
        fs, root = self._directory.fs, self._directory.root
        bucket, _, prefix = root.partition("/")
        uploads = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", [])
        which = [{"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]} for upload in uploads]
        return [part["Size"] for one in which for part in fs.call_s3("list_parts", **one).get("Parts", [])]

    def holds(self, folder: Path) -> bool:
        """Tell whether it has exactly the files of a local folder."""
        return {path: self._directory.read(path) for path in self._directory.files()} == _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _journaled(state: Path) -> int:
    """Return the bytes that the journals of a test know to be at the target."""
    done = 0
    for journal in state.rglob("*.jsonl"):
        for progress in replay(journal.read_text("ascii").splitlines()[1:]).values():
            done += progress.bytes if progress.target_stamp else 0
            done += sum(min(progress.part_bytes, progress.bytes - n * progress.part_bytes) for n in progress.parts)
    return done


def _check(report: Mapping[str, Any], there: int, part_bytes: int, workers: int = WORKERS) -> None:
    moved = report["bytes_sent"] + report["bytes_resumed"] + report["bytes_skipped"]
    assert moved == TOTAL_BYTES, report
    assert report["bytes_sent"] <= TOTAL_BYTES - there + workers * part_bytes, (report, there)
    assert report["bytes_resumed"] + report["bytes_skipped"] > 0.2 * TOTAL_BYTES, report
    assert (report["files"], report["parts_retried"]) == (len(SIZES), 0)


@pytest.mark.s3
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_transfer_to_s3_that_ends_at_40_percent_goes_on_there(
    content: Path, bucket: str, s3_options: dict[str, Any], number: signal.Signals
) -> None:
    far = Far(f"s3://{bucket}/far", s3_options)
    slow = Command(content, far.url, "--limit", BYTES_PER_SECOND, "--parts-at-once", WORKERS)
    slow.signal_when(number, lambda: far.bytes_there() >= KILLED_AT * TOTAL_BYTES)
    began = time.monotonic()
    code, out, error = slow.end()
    assert (code, out) == (-signal.SIGKILL if number == signal.SIGKILL else 130, "")
    assert time.monotonic() - began < 10
    if number == signal.SIGINT:
        assert error.splitlines()[-1] == "interrupted"
    there = far.bytes_there()
    report = Command(content, far.url, "--parts-at-once", WORKERS).report()
    _check(report, there, 16 << 20)
    assert far.holds(content)
    assert far.bytes_there() == TOTAL_BYTES, "parts of an abandoned upload are left"
    if number == signal.SIGKILL:
        again = Command(content, far.url).report()
        assert (again["bytes_sent"], again["bytes_skipped"]) == (0, TOTAL_BYTES)


@pytest.mark.s3
def test_a_transfer_from_s3_that_is_killed_at_40_percent_goes_on_there(
    content: Path, bucket: str, s3_options: dict[str, Any], tmp_path: Path, state: Path
) -> None:
    url = f"s3://aws_default@{bucket}/far"
    Command(content, url).report()
    slow = Command(url, tmp_path / "back", "--limit", BYTES_PER_SECOND, "--parts-at-once", WORKERS)
    slow.signal_when(signal.SIGKILL, lambda: _journaled(state) >= KILLED_AT * TOTAL_BYTES)
    assert slow.end()[0] == -signal.SIGKILL
    there = _journaled(state)
    assert not (tmp_path / "back" / "large.bin").exists()
    report = Command(url, tmp_path / "back", "--parts-at-once", WORKERS).report()
    _check(report, there, 16 << 20)
    assert _files(tmp_path / "back") == _files(content)
    assert list(state.rglob("*.jsonl")) == []


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(content: Path, tmp_path: Path) -> None:
    (tmp_path / "target" / "small").mkdir(parents=True)
    (tmp_path / "target" / "small" / "00.bin").write_bytes((content / "small" / "00.bin").read_bytes())
    report = Command(content, tmp_path / "target", "--dry-run").report()
    assert (report["bytes_sent"], report["bytes_skipped"]) == (TOTAL_BYTES - 300_000, 300_000)
    assert list(_files(tmp_path / "target")) == ["small/00.bin"]


@pytest.mark.s3
def test_a_transfer_that_nobody_resumes_starts_again_when_it_is_told_to(
    content: Path, bucket: str, s3_options: dict[str, Any]
) -> None:
    far = Far(f"s3://{bucket}/far", s3_options)
    slow = Command(content / "large.bin", f"{far.url}/large.bin", "--limit", BYTES_PER_SECOND)
    slow.signal_when(signal.SIGKILL, lambda: far.bytes_there() >= KILLED_AT * SIZES["large.bin"])
    slow.end()
    report = Command(content / "large.bin", f"{far.url}/large.bin", "--no-resume").report()
    assert (report["bytes_sent"], report["bytes_resumed"]) == (SIZES["large.bin"], 0)
    assert far.bytes_there() == SIZES["large.bin"], "parts of the attempt that nobody resumed are left"


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_a_task_that_is_killed_at_40_percent_is_resumed_by_its_retry(airflow: Harness, content: Path) -> None:
    shutil.copytree(content, airflow.transfer_source)
    far = Far(f"s3://{BUCKET}/{TRANSFER_DAG}", airflow.services.s3_options)
    run_id = airflow.start(TRANSFER_DAG)
    killed = Kill("transfer", "runner", lambda: far.bytes_there() >= KILLED_AT * TOTAL_BYTES)
    airflow.kill(TRANSFER_DAG, run_id, killed)
    there = far.bytes_there()
    state, tasks = airflow.wait(TRANSFER_DAG, run_id)
    assert (state, tasks["transfer"].try_number) == ("success", 2), tasks
    _check(airflow.result(TRANSFER_DAG, run_id, "transfer"), there, 16 << 20, workers=TRANSFER_WORKERS)
    assert far.holds(content)
    assert far.bytes_there() == TOTAL_BYTES, "parts of an abandoned upload are left"
