"""Programs that end with the process that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from airflow_dataflow.training.child import ending_with_this_process

PARENT = """
import subprocess, sys, time
from airflow_dataflow.training.child import ending_with_this_process
child = subprocess.Popen(ending_with_this_process(["sleep", "600"]))
while child.poll() is None and open(f"/proc/{child.pid}/comm").read().strip() != "sleep":
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_program_ends_when_the_process_that_started_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.name() == "sleep"
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    child.wait(10)


def test_a_program_runs_as_if_it_had_been_started_directly(tmp_path: Path) -> None:
    command = ending_with_this_process(["sh", "-c", 'echo "$1 $PWD $KEY"; exit 7', "sh", "a b"])
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env={"KEY": "value"})
    assert (done.returncode, done.stdout, done.stderr) == (7, f"a b {tmp_path} value\n", "")


def test_a_program_does_not_start_when_its_parent_has_gone(tmp_path: Path) -> None:
    interpreter, *flags, file, _, shell, option, script = ending_with_this_process(["sh", "-c", "echo started"])
    orphan = [interpreter, *flags, file, "1", shell, option, script]
    done = subprocess.run(orphan, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (126, "")


@pytest.mark.parametrize(
    ("program", "code", "said"), [("no-such-program", 127, "not found"), ("/", 126, "cannot be run")]
)
def test_a_program_that_cannot_run_says_so(program: str, code: int, said: str) -> None:
    done = subprocess.run(ending_with_this_process([program]), capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr
