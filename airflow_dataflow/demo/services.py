"""Airflow's components, an S3 server and perhaps HDFS on loopback, started together and always stopped."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.demo.api import AirflowApi
from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.demo.home import Home
from airflow_dataflow.demo.options import TierKind
from airflow_dataflow.demo.processes import Service, check_port, reserve_port
from airflow_dataflow.demo.tiers import connection_extra, hdfs_connection, local_tiers, mixed_tiers
from airflow_dataflow.errors import InvalidInputError, JobFailedError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

log = logging.getLogger(__name__)

BUCKET = "dataflow-demo"
USER = "admin"
_COMPONENTS: dict[str, list[str]] = {
    "scheduler": ["--skip-serve-logs"],
    "api-server": [],
    "dag-processor": [],
    "triggerer": ["--skip-serve-logs"],
}
_STARTUP_SECONDS = 240.0
_POLL_SECONDS = 0.25
_IDLE_GRACE_SECONDS = 3.0
"""For services that have nothing to lose once no task runs."""


class Services:
    """What one demo runs on: Airflow on SQLite with its LocalExecutor, an S3 server that keeps objects in memory, HDFS.

    :param home: a home in use; databases, logs and tiers lie there.
    :param dags: folder of DAG files.
    :param settings: environment variables that win over the demo's own, e.g. more connections for a test.
    :param port: port of the web UI; when 0 the one that the home had before, or any free one.
    :param tiers: with ``hdfs`` an HDFS cluster runs, too; the warm tier lies there, and the cold one on S3.
    :raises InvalidInputError: when another server has the port.
    """

    def __init__(
        self,
        home: Home,
        dags: Path,
        *,
        settings: Mapping[str, str] | None = None,
        port: int = 0,
        tiers: TierKind = "local",
    ) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{_web_port(home, port)}"
        s3_port = reserve_port()
        self.s3_url = f"http://127.0.0.1:{s3_port}"
        self.hdfs = HdfsCluster(home.hdfs) if tiers == "hdfs" else None
        self.tiers = local_tiers(home)
        if self.hdfs is not None:
            self.tiers = mixed_tiers(home, self.hdfs, BUCKET, self.s3_options)
        connections = _connections(home, self.s3_url, self.tiers, self.hdfs)
        self.environment = _inherited() | _airflow(home, dags, self.url) | connections
        self.environment.update(settings or {})
        self._airflow_version = version("apache-airflow-core")
        self._s3 = self._service("s3", ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(s3_port)])
        self._migration = self._service("migration", ["-m", "airflow", "db", "migrate"])
        self.components = {
            name: self._service(name, ["-m", "airflow", name, *arguments]) for name, arguments in _COMPONENTS.items()
        }

    def _service(self, name: str, command: list[str]) -> Service:
        return Service(name, command, self.home.logs / f"{name}.log")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the S3 server and, where it is needed, the migration of Airflow's database; stop all at the end.

        SIGTERM and SIGHUP end the block like Ctrl-C does.
        """
        with _signals_raise():
            try:
                self._start(self._s3)
                if self.home.needs_migration(self._airflow_version):
                    self._start(self._migration)
                yield
            finally:
                self.stop()

    def open_store(self) -> Store:
        """Return the store that the tasks use."""
        return Store(self.tiers, Catalog(self.home.catalog_url))

    @property
    def s3_options(self) -> dict[str, Any]:
        """What fsspec needs to open URLs of the S3 server."""
        return {"key": "demo", "secret": "any", "endpoint_url": self.s3_url}

    def start_airflow(self) -> None:
        """Start Airflow's components, and HDFS meanwhile; return when all say that they are healthy.

        :raises JobFailedError: when one is not; the message ends with its log.
        """
        self._finish_migration()
        for service in self.components.values():
            self._start(service)
        if self.hdfs is not None:
            self.hdfs.start(keep_open=(self._lock(),))
        self._wait_for_s3()
        with self.api() as api:
            self._wait_until_healthy(api)

    def start_component(self, name: str) -> None:
        """Start one of Airflow's components again, after it has ended."""
        self._start(self.components[name])

    def api(self) -> AirflowApi:
        """Return a client of Airflow's API, logged in."""
        return AirflowApi(self.url, USER, self.password)

    @property
    def password(self) -> str:
        """Password of the one user, ``admin``."""
        return self.home.secrets()["password"]

    def check(self) -> None:
        """Do nothing while all services run.

        :raises JobFailedError: when one has ended, with the end of its log.
        """
        for service in (self._s3, *self.components.values()):
            service.check()
        if self.hdfs is not None:
            self.hdfs.check()

    def stop(self) -> None:
        """Stop everything: first the scheduler, which ends the tasks, then what tasks talk to."""
        with _signals_ignored():
            self.components["scheduler"].stop()
            self._save_objects()
            others = [service for name, service in self.components.items() if name != "scheduler"]
            for service in (*others, self._s3, self._migration):
                service.ask_to_stop()
            for service in (*others, self._s3, self._migration):
                service.stop(_IDLE_GRACE_SECONDS)
            if self.hdfs is not None:
                self.hdfs.stop()

    def _start(self, service: Service) -> None:
        service.start(self.environment, keep_open=(self._lock(),))

    def _lock(self) -> int:
        if self.home.lock_descriptor is None:
            raise ValueError(f"{self.home.folder} is not in use")
        return self.home.lock_descriptor

    def _finish_migration(self) -> None:
        if self._migration.pid is None:
            return
        if self._migration.wait(_STARTUP_SECONDS) != 0:
            self._migration.check()
        self.home.keep_migrated_database(self._airflow_version)

    def _wait_for_s3(self) -> None:
        """Make the bucket, and fill it with what the last demo in this home has left in it."""
        deadline = time.monotonic() + _STARTUP_SECONDS
        while True:
            try:
                httpx.put(f"{self.s3_url}/{BUCKET}", trust_env=False).raise_for_status()
                break
            except httpx.TransportError as error:
                self._s3.check()
                if time.monotonic() > deadline:
                    raise JobFailedError(f"the S3 server does not answer; {self._s3.tail()}") from error
                time.sleep(_POLL_SECONDS)
        if self.home.objects.exists():
            self._s3_files().put(f"{self.home.objects}/", f"{BUCKET}/", recursive=True)

    def _save_objects(self) -> None:
        """Keep the objects, which the server has in memory only, for the next demo in this home."""
        if self._s3.pid is None or self._s3.exit_code is not None:
            return
        try:
            files = self._s3_files()
            if files.find(BUCKET):
                files.get(f"{BUCKET}/", f"{self.home.objects}/", recursive=True)
        except (OSError, ValueError) as error:
            log.warning("the objects of the S3 server are lost: %s", error)

    def _s3_files(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(**self.s3_options, skip_instance_cache=True)

    def _wait_until_healthy(self, api: AirflowApi) -> None:
        deadline = time.monotonic() + _STARTUP_SECONDS
        while waiting := api.unhealthy():
            self.check()
            if time.monotonic() > deadline:
                service = self.components[waiting[0]]
                raise JobFailedError(
                    f"{service.name} is not healthy after {_STARTUP_SECONDS:.0f} seconds; {service.tail()}"
                )
            time.sleep(_POLL_SECONDS)


def _web_port(home: Home, wanted: int) -> int:
    """Return the port of the web UI; a home keeps its own, since links in what it has recorded hold it."""
    if not wanted and home.port_file.exists():
        with suppress(InvalidInputError):
            return check_port(int(home.port_file.read_text()))
    port = check_port(wanted) if wanted else reserve_port()
    home.port_file.write_text(str(port))
    return port


def _inherited() -> dict[str, str]:
    """Return this process's environment without what would change Airflow or HDFS, or send requests elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "AWS_", "HADOOP_")) and not name.lower().endswith("_proxy")
    }
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept


def _airflow(home: Home, dags: Path, url: str) -> dict[str, str]:
    secrets = home.secrets()
    passwords = home.airflow / "passwords.json"
    passwords.touch(mode=0o600)
    passwords.write_text(json.dumps({USER: secrets["password"]}))
    settings = {
        ("core", "dags_folder"): dags,
        ("core", "load_examples"): False,
        ("core", "executor"): "LocalExecutor",
        ("core", "parallelism"): 2,
        ("core", "dags_are_paused_at_creation"): False,
        ("core", "simple_auth_manager_users"): f"{USER}:admin",
        ("core", "simple_auth_manager_passwords_file"): passwords,
        ("core", "fernet_key"): secrets["fernet"],
        ("core", "execution_api_server_url"): f"{url}/execution/",
        ("api", "base_url"): url,
        ("api", "host"): "127.0.0.1",
        ("api", "port"): httpx.URL(url).port,
        ("api", "workers"): 1,
        ("api", "secret_key"): secrets["api"],
        ("api_auth", "jwt_secret"): secrets["jwt"],
        ("usage_data_collection", "enabled"): False,
        # A process that is killed is noticed within half a minute, not within five.
        ("scheduler", "task_instance_heartbeat_timeout"): 20,
        ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): 2,
        # The rest makes short tasks start and end within a second, where the defaults wait for several.
        ("workers", "min_heartbeat_interval"): 1,
        ("scheduler", "scheduler_idle_sleep_time"): 0.1,
        ("dag_processor", "refresh_interval"): 5,
        ("dag_processor", "min_file_process_interval"): 30,
        ("dataflow", "landing_url"): home.landing.as_uri(),
        ("dataflow", "publish_url"): f"s3://{BUCKET}/published",
    }
    variables = {f"AIRFLOW__{section}__{key}".upper(): str(value) for (section, key), value in settings.items()}
    return {"AIRFLOW_HOME": str(home.airflow), **variables}


def _connections(home: Home, s3_url: str, tiers: list[Tier], hdfs: HdfsCluster | None) -> dict[str, str]:
    aws = {"endpoint_url": s3_url, "region_name": "us-east-1"}
    store = {"catalog_url": home.catalog_url, "tiers": connection_extra(tiers)}
    connections: dict[str, dict[str, Any]] = {
        "dataflow_default": {"conn_type": "dataflow", "extra": store},
        # The server takes any credentials, but its clients want some.
        "aws_default": {"conn_type": "aws", "login": "demo", "password": "any", "extra": aws},
    }
    if hdfs is not None:
        connections["webhdfs_default"] = hdfs_connection(hdfs)
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()}


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program through its ``finally`` blocks."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handlers({signal.SIGTERM: leave, signal.SIGHUP: leave}):
        yield


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Let nobody interrupt the stopping, which takes seconds."""
    with _handlers(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)):
        yield


@contextmanager
def _handlers(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
