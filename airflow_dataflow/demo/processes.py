"""Processes that the demo starts and always stops, with everything that they have started."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from airflow_dataflow.errors import InvalidInputError, JobFailedError

# The kernel sends SIGTERM to a service when the demo itself is killed; the setting survives exec.
_LEASH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
_POLL_SECONDS = 0.1
_LOWEST_PORT, _USUAL_FIRST_PORT = 20_000, 32_768
_reserved: set[int] = set()


class Service:
    """A long-running process in a session of its own, so that all its descendants can be found and stopped.

    :param name: what it is called in messages and the name of its log.
    :param command: arguments for the program, e.g. ``["-m", "airflow", "scheduler"]``.
    :param log: file that its output is added to.
    :param program: path of what runs; this Python when ``None``.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, program: Path | None = None) -> None:
        self.name = name
        self.command = command
        self.program = str(program or sys.executable)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str], *, keep_open: Iterable[int] = ()) -> None:
        """Start it.

        :param environment: its whole environment.
        :param keep_open: file descriptors that it inherits.
        """
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LEASH, self.program, *self.command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(keep_open),
            )

    @property
    def pid(self) -> int | None:
        """Process id, which is also its session's; ``None`` before the start."""
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, ``None`` while it runs or when it was never started."""
        return None if self._process is None else self._process.poll()

    def check(self) -> None:
        """Do nothing while it runs.

        :raises JobFailedError: when it has ended, with the end of its log.
        """
        if self.exit_code is not None:
            raise JobFailedError(f"{self.name} ended with exit code {self.exit_code}\n{self.tail()}")

    def tail(self, lines: int = 20) -> str:
        """Return where its log is and the last lines of it."""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            last = "".join(deque(file, maxlen=lines))
        return f"the end of {self.log}:\n{last}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its exit code.

        :raises JobFailedError: when it still runs after so many seconds.
        """
        if not wait_until(lambda: self.exit_code is not None, seconds):
            raise JobFailedError(f"{self.name} still runs after {seconds:.0f} seconds; {self.tail()}")
        return cast(int, self.exit_code)

    def kill(self) -> None:
        """End it and everything in its session by force, as a machine that fails does."""
        if self._process is not None:
            signal_session(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """End it and everything in its session: politely, then its children politely, then by force."""
        if self._process is None:
            return
        process = self._process
        process.terminate()
        if not wait_until(lambda: process.poll() is not None, grace_seconds):
            signal_session(process.pid, signal.SIGTERM)
            wait_until(lambda: not session_members(process.pid), grace_seconds / 2)
        self.kill()


def session_members(session: int) -> list[int]:
    """Return the ids of the processes of a session that still run."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session and _runs(entry):
                    members.append(int(entry.name))
            except (ProcessLookupError, FileNotFoundError):
                continue
    return members


def _runs(entry: Path) -> bool:
    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
    return state not in "ZX"


def signal_session(session: int, number: signal.Signals) -> None:
    """Send a signal to every process of a session."""
    for pid in session_members(session):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Tell whether a condition came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def reserve_port(hosts: Sequence[str] = ("127.0.0.1",)) -> int:
    """Return a port that is free on some loopback addresses; this process reserves it for nobody else.

    It is none of those that connections get at their own end, so a server that is started again finds it free.
    """
    while True:
        port = random.randrange(_LOWEST_PORT, _first_port_of_connections())
        if port not in _reserved and all(_refusal(host, port) is None for host in hosts):
            _reserved.add(port)
            return port


def _first_port_of_connections() -> int:
    with suppress(OSError, ValueError, IndexError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
        if first > _LOWEST_PORT:
            return first
    return _USUAL_FIRST_PORT


def check_port(port: int) -> int:
    """Return ``port`` when a server can have it.

    :raises InvalidInputError: when another one has.
    """
    error = _refusal("127.0.0.1", port)
    if error is not None:
        raise InvalidInputError(f"port {port} cannot be used ({error.strerror}); choose another one") from error
    return port


def _refusal(host: str, port: int) -> OSError | None:
    """Return why a server cannot have an address; ``None`` when it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def listens(host: str, port: int) -> bool:
    """Tell whether a server takes connections at an address."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
