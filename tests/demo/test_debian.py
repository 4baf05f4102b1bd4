"""Packages are unpacked once, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_dataflow.demo.debian import cache_folder, unpacked, unpacked_wheel
from airflow_dataflow.errors import MissingPackageError
from tests.services.packages import skip_without_packages

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="this machine has no apt-get")

PACKAGE = "hello"
UNPACK = f"from airflow_dataflow.demo.debian import unpacked; print(unpacked('greeting', ['{PACKAGE}']))"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let apt-get write its process and arguments to a file, and return that."""
    log = tmp_path / "calls"
    real = shutil.which("apt-get")
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho $$ "$@" >> {log}\n[ "$2" = update ] && [ -e {tmp_path}/lists-are-current ] && exit 0\n'
        f'while [ -e {tmp_path}/slow ]; do sleep 0.05; done\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return log


def _left(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


def test_a_package_is_unpacked_once(cache: Path, calls: Path) -> None:
    with skip_without_packages():
        folder = unpacked("greeting", [PACKAGE])
    asked = calls.read_text()
    done = subprocess.run([folder / "usr/bin/hello"], capture_output=True, text=True, check=True)
    assert done.stdout == "Hello, world!\n"
    assert unpacked("greeting", [PACKAGE]) == folder
    assert calls.read_text() == asked
    assert _left(cache) == [folder.name]


def test_other_packages_under_the_same_name_get_a_folder_of_their_own(calls: Path) -> None:
    with skip_without_packages():
        assert unpacked("greeting", [PACKAGE]) != unpacked("greeting", [PACKAGE, "hello-traditional"])


def test_a_package_that_does_not_exist_is_named_and_leaves_nothing(cache: Path, calls: Path, tmp_path: Path) -> None:
    (tmp_path / "lists-are-current").touch()
    with pytest.raises(MissingPackageError, match="Unable to locate package no-such-package"):
        unpacked("nothing", ["no-such-package"])
    assert _left(cache) == []


def test_a_machine_that_is_not_a_debian_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match="this machine has no apt-get and dpkg"):
        unpacked("greeting", [PACKAGE])


def test_a_wheel_is_unpacked_without_being_installed(cache: Path) -> None:
    with skip_without_packages():
        folder = unpacked_wheel("six", "six==1.17.0")
    assert (folder / "six.py").is_file()
    assert _left(cache) == [folder.name]


def test_a_wheel_that_does_not_exist_is_named(cache: Path) -> None:
    with pytest.raises(MissingPackageError, match=r"No matching distribution found for six==0\.0\.1"):
        unpacked_wheel("six", "six==0.0.1")
    assert _left(cache) == []


def _unpack() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", UNPACK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for_first(calls: Path) -> int:
    """Wait until apt-get was started, and return its process."""
    deadline = time.monotonic() + 60
    while not calls.exists() or not calls.read_text().endswith("\n"):
        assert time.monotonic() < deadline, "apt-get was never started"
        time.sleep(0.02)
    return int(calls.read_text().split()[0])


def test_two_processes_at_once_unpack_once_and_both_have_it(calls: Path, tmp_path: Path) -> None:
    with skip_without_packages():
        unpacked("first", [PACKAGE])
    calls.unlink()
    (tmp_path / "slow").touch()
    processes = [_unpack(), _unpack()]
    _wait_for_first(calls)
    (tmp_path / "slow").unlink()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0] == outputs[1]
    assert calls.read_text().count(" download ") == 1


def test_one_killed_half_way_leaves_nothing_that_the_next_one_takes_for_whole(
    cache: Path, calls: Path, tmp_path: Path
) -> None:
    with skip_without_packages():
        unpacked("first", [PACKAGE])
    calls.unlink()
    (tmp_path / "slow").touch()
    process = _unpack()
    _wait_for_first(calls)
    process.kill()
    process.communicate()
    assert any("partial" in name for name in _left(cache))
    (tmp_path / "slow").unlink()
    folder = unpacked("greeting", [PACKAGE])
    assert (folder / "usr/bin/hello").exists()
    assert not any("partial" in name for name in _left(cache))
