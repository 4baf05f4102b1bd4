"""Services of the demo: their environment, and what a person reads when one does not start."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dataflow.demo.home import Home
from airflow_dataflow.demo.services import Services
from airflow_dataflow.errors import InvalidInputError, JobFailedError


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "a home")
    with home.in_use(clean=True):
        yield home


def test_the_person_s_own_airflow_and_cloud_settings_do_not_reach_the_services(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_MINE", "AWS_PROFILE", "HADOOP_CONF_DIR")
    for name in (*settings, "https_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = Services(home, tmp_path).environment
    assert "mine" not in environment.values()
    assert environment["LANG"] == "C.UTF-8"
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_airflow_reads_the_settings_and_connections(home: Home, tmp_path: Path) -> None:
    environment = Services(home, tmp_path).environment
    code = (
        "import json; from airflow.configuration import conf\n"
        "from airflow_dataflow.hooks.dataflow import DataflowHook\n"
        "from airflow_dataflow.settings import landing_url, publish_url\n"
        "store = DataflowHook().store\n"
        "print(json.dumps([landing_url(), publish_url(), conf.get('core', 'executor'), [t.url for t in store.tiers]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    landing, publish, executor, tiers = json.loads(done.stdout.splitlines()[-1])
    assert landing == home.landing.as_uri()
    assert publish == "s3://dataflow-demo/published"
    assert executor == "LocalExecutor"
    assert tiers == [(home.tiers / name).as_uri() for name in ("hot", "warm", "cold")]


def test_settings_of_the_caller_win(home: Home, tmp_path: Path) -> None:
    services = Services(home, tmp_path, settings={"AIRFLOW__CORE__PARALLELISM": "7"})
    assert services.environment["AIRFLOW__CORE__PARALLELISM"] == "7"


def test_the_password_is_in_no_file_that_others_can_read(home: Home, tmp_path: Path) -> None:
    services = Services(home, tmp_path)
    holders = [path for path in home.folder.rglob("*") if path.is_file() and services.password in path.read_text()]
    assert holders
    assert [stat.S_IMODE(path.stat().st_mode) for path in holders] == [0o600] * len(holders)


def test_a_port_that_is_taken_is_refused_before_anything_starts(home: Home, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port} cannot be used .*choose another"):
            Services(home, tmp_path, port=port)
    assert Services(home, tmp_path, port=port).url == f"http://127.0.0.1:{port}"


def test_a_home_keeps_its_port_while_that_is_free(home: Home, tmp_path: Path) -> None:
    first = Services(home, tmp_path).url
    assert Services(home, tmp_path).url == first
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        other.listen()
        assert Services(home, tmp_path).url != first


def test_a_service_that_cannot_start_is_reported_with_the_end_of_its_own_log(home: Home, tmp_path: Path) -> None:
    broken = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/at/all.db"}
    services = Services(home, tmp_path, settings=broken)
    with (
        pytest.raises(JobFailedError, match=r"(?s)migration ended with exit code 1.*migration\.log.*unable to open"),
        services.running(),
    ):
        services.start_airflow()
    assert all(service.exit_code is None for service in services.components.values())


def test_services_are_started_in_a_home_in_use_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        services = Services(home, tmp_path)
    with pytest.raises(ValueError, match="is not in use"), services.running():
        pass
