"""Services of the demo end with it, and with everything that they have started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_dataflow.demo.processes import Service, listens, reserve_port, session_members
from airflow_dataflow.errors import JobFailedError

_STUBBORN_FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c",
    "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)
"""


def _service(tmp_path: Path, code: str) -> Service:
    return Service("helper", ["-c", code], tmp_path / "helper.log")


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)


def test_stopping_a_service_ends_children_that_ignore_the_signal_in_groups_of_their_own(tmp_path: Path) -> None:
    service = _service(tmp_path, _STUBBORN_FAMILY)
    service.start(os.environ)
    session = service.pid
    assert session is not None
    _wait(lambda: "ready" in service.log.read_text() and len(session_members(session)) == 2)
    service.stop(grace_seconds=0.2)
    _wait(lambda: not session_members(session))


def test_a_polite_service_is_stopped_by_its_signal_alone(tmp_path: Path) -> None:
    service = _service(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    service.start(os.environ)
    _wait(lambda: "ready" in service.log.read_text())
    service.stop()
    assert service.exit_code == -signal.SIGTERM


def test_a_service_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from airflow_dataflow.demo.processes import Service\n"
        "work = 'import time; print(1, flush=True); time.sleep(60)'\n"
        "service = Service('helper', ['-c', work], Path(sys.argv[1]) / 'helper.log')\n"
        "service.start(os.environ); print(service.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    session = int(parent.stdout.readline())
    _wait(lambda: (tmp_path / "helper.log").read_text() == "1\n")
    assert session_members(session)
    parent.kill()
    parent.communicate()
    _wait(lambda: not session_members(session))


def test_a_service_that_has_ended_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    service = _service(tmp_path, "print('line one'); raise SystemExit('no such table: dag')")
    service.start(os.environ)
    assert service.wait(20) == 1
    with pytest.raises(JobFailedError, match=r"(?s)helper ended with exit code 1.*helper\.log.*no such table: dag"):
        service.check()


def test_waiting_for_a_service_has_a_limit(tmp_path: Path) -> None:
    service = _service(tmp_path, "import time; time.sleep(60)")
    service.start(os.environ)
    try:
        with pytest.raises(JobFailedError, match="helper still runs after 0 seconds"):
            service.wait(0.1)
        service.check()
    finally:
        service.stop()


def test_a_reserved_port_goes_to_the_server_that_asks_for_it_and_to_no_other() -> None:
    port = reserve_port()
    others = {_bound_port() for _ in range(50)}
    assert port not in others
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        assert server.getsockname()[1] == port


def _bound_port() -> int:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        return int(other.getsockname()[1])


def test_a_port_is_free_on_every_address_that_it_is_reserved_for() -> None:
    hosts = ("127.0.0.1", "127.0.0.2")
    port = reserve_port(hosts)
    with ExitStack() as servers:
        for host in hosts:
            server = servers.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, port))
            assert not listens(host, port)
            server.listen()
            assert listens(host, port)
