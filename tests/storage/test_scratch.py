"""Folders for the time of one piece of work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_dataflow.storage.scratch import PREFIX, scratch_folder

WORK = """
import sys
from airflow_dataflow.storage.scratch import scratch_folder

with scratch_folder() as folder:
    (folder / "segment").write_text("half of something")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which scratch folders are made."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_for_the_time_of_the_work(temporary: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == temporary
        (folder / "a").write_text("x")
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_has_left_goes_and_what_a_living_one_has_stays(temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    killed, living = (
        subprocess.Popen(
            [sys.executable, "-c", WORK], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    with killed, living:
        folders = [Path(process.stdout.readline().strip()) for process in (killed, living) if process.stdout]
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        assert [folder.exists() for folder in folders] == [True, True]
        with scratch_folder():
            assert [folder.exists() for folder in folders] == [False, True]
        living.communicate("", 20)
    assert list(temporary.iterdir()) == []


def test_nothing_else_is_touched(temporary: Path) -> None:
    other = temporary / "other"
    other.mkdir()
    (temporary / f"{PREFIX}link").symlink_to(other)
    (temporary / f"{PREFIX}file").write_text("somebody's")
    with scratch_folder():
        pass
    assert sorted(path.name for path in temporary.iterdir()) == [f"{PREFIX}file", f"{PREFIX}link", "other"]
