"""PostgreSQL and MariaDB servers of the tests: real ones, from Debian packages, on loopback, with passwords."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from airflow_dataflow.datasets.catalog.connections import release
from airflow_dataflow.demo.debian import unpacked
from tests.services.packages import skip_without_packages

_START_SECONDS = 60
_NOBODY = 65534


@dataclass(frozen=True)
class SqlServer:
    """A database server that is running."""

    url: sa.URL
    """URL of its administrator, with the password."""

    @contextmanager
    def administration(self) -> Iterator[sa.Connection]:
        """Connect as the administrator, each statement a transaction of its own."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, and drop it in the end, whoever is still connected."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self.administration() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = self.url.set(database=name)
        yield url.render_as_string(hide_password=False)
        release(url)
        by_force = " WITH (FORCE)" if self.url.get_backend_name() == "postgresql" else ""
        with self.administration() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}{by_force}")


@contextmanager
def postgres_server(**settings: str) -> Iterator[SqlServer]:
    """Start PostgreSQL in a folder of its own.

    :param settings: what differs from its defaults, e.g. ``fsync="on"``; the tests do without it.
    """
    packages = unpacked("postgresql", ["postgresql-15", "postgresql-client-15"], dependencies=True)
    password, port = secrets.token_hex(8), _free_port()
    with _folder("postgresql") as folder:
        # PostgreSQL does not run as root, and others cannot read root's cache.
        programs, user = (packages, ()) if os.geteuid() else (_readable_copy(packages, folder), _user(_NOBODY))
        binaries, environment = programs / "usr/lib/postgresql/15/bin", _libraries(programs)
        secret = _password_file(folder, password)
        data = folder / "data"
        options = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        _run([*user, binaries / "initdb", "--username=tests", *options, f"--pgdata={data}"], environment)
        settings = {"fsync": "off", "jit": "off", "max_connections": "200"} | settings
        settings |= {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
        command = [*user, *_ends_with_us(signal.SIGINT), binaries / "postgres", "-D", data]
        command += [f"--{name}={value}" for name, value in settings.items()]
        url = sa.URL.create("postgresql+psycopg", "tests", password, "127.0.0.1", port, "postgres")
        with _running(command, environment, folder, url, signal.SIGINT) as server:
            yield server


@contextmanager
def mariadb_server(**settings: str) -> Iterator[SqlServer]:
    """Start MariaDB in a folder of its own; like Debian's it has case-insensitive utf8mb4 as its default.

    :param settings: what differs from its defaults, e.g. ``innodb_flush_log_at_trx_commit="1"``.
    """
    packages = unpacked("mariadb", ["mariadb-server-core", "mariadb-client-core"], dependencies=True)
    password, port, base, environment = secrets.token_hex(8), _free_port(), packages / "usr", _libraries(packages)
    with _folder("mariadb") as folder:
        data, start = folder / "data", folder / "start.sql"
        _password_file(folder, password)
        user = ["--user=root"] if os.geteuid() == 0 else []
        install = [base / "bin/mariadb-install-db", "--no-defaults", f"--basedir={base}", f"--datadir={data}", *user]
        _run([*install, "--auth-root-authentication-method=normal", "--skip-test-db"], environment)
        start.write_text(
            f"ALTER USER root@localhost IDENTIFIED BY '{password}';\n"
            f"CREATE USER tests@'127.0.0.1' IDENTIFIED BY '{password}';\n"
            "GRANT ALL PRIVILEGES ON *.* TO tests@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        settings = {
            "innodb-flush-log-at-trx-commit": "2",
            "character-set-server": "utf8mb4",
            "collation-server": "utf8mb4_general_ci",
            "local-infile": "ON",
            "max-connections": "200",
            "lock-wait-timeout": "30",
            "innodb-buffer-pool-size": "64M",
        } | settings
        command = [*_ends_with_us(signal.SIGTERM), base / "sbin/mariadbd", "--no-defaults", f"--basedir={base}", *user]
        command += [f"--datadir={data}", f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-name-resolve"]
        command += ["--bind-address=127.0.0.1", f"--port={port}", f"--init-file={start}", f"--plugin-dir={base}/none"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        url = sa.URL.create("mysql+pymysql", "tests", password, "127.0.0.1", port)
        with _running(command, environment, folder, url, signal.SIGTERM) as server:
            yield server


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"airflow-dataflow-{name}-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _NOBODY, _NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _password_file(folder: Path, password: str) -> Path:
    path = folder / "password"
    path.touch(0o600)
    path.write_text(password)
    if os.geteuid() == 0:
        shutil.chown(path, _NOBODY, _NOBODY)
    return path


def _readable_copy(packages: Path, folder: Path) -> Path:
    """Copy programs to where another user can read them, all but the compiler of queries, which is large."""
    copy = folder / "programs"
    shutil.copytree(packages, copy, symlinks=True, ignore=shutil.ignore_patterns("libLLVM*", "doc", "man", "locale"))
    return copy


def _user(number: int) -> Sequence[str]:
    return ("setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups")


def _ends_with_us(end: signal.Signals) -> Sequence[str]:
    """Let the kernel end a server whose test run is killed."""
    return ("setpriv", f"--pdeathsig={end.name}")


def _libraries(packages: Path) -> dict[str, str]:
    folders = [str(path) for part in ("usr/lib", "lib") for path in (packages / part).glob("*-linux-gnu")]
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(folders)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=_START_SECONDS
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout}{done.stderr}"


@contextmanager
def _running(
    command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, url: sa.URL, end: signal.Signals
) -> Iterator[SqlServer]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd="/", stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(process, url, log)
        yield SqlServer(url)
    finally:
        process.send_signal(end)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[Any], url: sa.URL, log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with engine.connect():
                return
        except OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{url.get_backend_name()} did not start: {error}\n{log.read_text()}") from error
        time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres() -> Iterator[SqlServer]:
    """Return a PostgreSQL server that all tests share."""
    with skip_without_packages(), postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[SqlServer]:
    """Return a MariaDB server that all tests share."""
    with skip_without_packages(), mariadb_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: SqlServer) -> Iterator[str]:
    """Return the SQLAlchemy URL of an empty database on PostgreSQL."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb: SqlServer) -> Iterator[str]:
    """Return the SQLAlchemy URL of an empty database on MariaDB."""
    with mariadb.database() as url:
        yield url


SERVERS = [
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]
"""Names of the servers, for parameters of tests."""


@pytest.fixture(params=["sqlite", *SERVERS])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, on each kind that can hold a catalog."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/down/catalog.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database on the server that the test names."""
    return str(request.getfixturevalue(f"{request.param}_url"))
