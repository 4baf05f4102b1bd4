"""One real Airflow for all end-to-end tests, with the nightly DAG once per store."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fsspec
import psutil
import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.demo.api import AirflowApi, TaskState
from airflow_dataflow.demo.home import Home
from airflow_dataflow.demo.processes import session_members
from airflow_dataflow.demo.run import DAG_ID, dags_folder
from airflow_dataflow.demo.samples import SampleOptions, write_night
from airflow_dataflow.demo.services import BUCKET, Services
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

SAMPLES = SampleOptions(rows=(1500, 400))
TRANSFER_DAG = "transfer_of_files"
STORES = ("undisturbed", "runners", "supervisors")
"""Each names a store, a landing folder, a folder of the bucket, and a DAG that is the nightly DAG but for these."""
RUN_SECONDS = 240.0
TRANSFER_BYTES_PER_SECOND = 20 << 20
TRANSFER_WORKERS = 3
Victim = Literal["runner", "supervisor", "java"]


@dataclass(frozen=True)
class Kill:
    """A process of a task that dies by SIGKILL."""

    task_id: str
    victim: Victim
    """The process that runs the task, the one above it that reports to Airflow, or the Java below it."""
    when: Callable[[], bool]
    """Tells whether the moment has come; asked every few milliseconds while the process lives."""


class Harness:
    """Airflow, and what tests do with it."""

    def __init__(self, services: Services, api: AirflowApi) -> None:
        self.services = services
        self.api = api
        self.bucket = fsspec.filesystem("s3", **services.s3_options)

    def landing(self, name: str) -> Path:
        """Return the landing folder of a store's DAG."""
        return self.services.home.folder / "landings" / name

    def tiers(self, name: str) -> Path:
        """Return the folder of a store's tiers."""
        return self.services.home.tiers / name

    def store(self, name: str) -> Store:
        """Return a store."""
        return Store([Tier(name="hot", tier_class="hot", url=str(self.tiers(name) / "hot")),
                      Tier(name="cold", tier_class="cold", url=str(self.tiers(name) / "cold"))],
                     Catalog(_catalog_url(self.services.home, name)))  # fmt: skip

    def published(self, name: str) -> dict[str, bytes]:
        """Return what a store has published, by key."""
        return {key: self.bucket.cat_file(f"{BUCKET}/{name}/{key}") for key in self.published_keys(name)}

    def published_keys(self, name: str) -> list[str]:
        """Return the keys of what a store has published, or is publishing."""
        self.bucket.invalidate_cache()
        prefix = f"{BUCKET}/{name}/"
        return [path.removeprefix(prefix) for path in self.bucket.find(prefix)]

    @property
    def transfer_source(self) -> Path:
        """The folder that the DAG of a transfer sends."""
        return self.services.home.folder / "transfer"

    def start(self, name: str) -> str:
        """Start a DAG by hand and return its run."""
        self.pause(name, paused=False)
        run = self.call("POST", f"/dags/{name}/dagRuns", json={"logical_date": None})
        return str(run["dag_run_id"])

    def result(self, name: str, run_id: str, task_id: str) -> Any:
        """Return what a task has returned."""
        where = f"/dags/{name}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.call("GET", where)["value"]

    def call(self, method: str, path: str, **content: Any) -> Any:
        """Call Airflow's API beyond what the demo needs."""
        answer = self.api._client.request(method, f"/api/v2{path}", **content)
        answer.raise_for_status()
        return answer.json()

    def pause(self, name: str, *, paused: bool = True) -> None:
        """Stop the scheduling of a store's DAG, or begin it."""
        self.call("PATCH", f"/dags/{name}", json={"is_paused": paused})

    def wait(self, name: str, run_id: str) -> tuple[str, dict[str, TaskState]]:
        """Return how a run has ended, and its tasks."""
        deadline = time.monotonic() + RUN_SECONDS
        while (state := self.api.run_state(name, run_id)) not in ("success", "failed"):
            self.services.check()
            assert time.monotonic() < deadline, f"{run_id} of {name} is still {state}: {self.api.tasks(name, run_id)}"
            time.sleep(0.3)
        return state, {task.task_id: task for task in self.api.tasks(name, run_id)}

    def scheduled_run(self, name: str) -> str:
        """Let a store's DAG be scheduled and return its run; all stores' runs belong to the same moment."""
        self.pause(name, paused=False)
        return self.wait_for_run(name, "scheduled")

    def wait_for_run(self, name: str, kind: str) -> str:
        """Return the first run of a kind, once Airflow has made it."""
        deadline = time.monotonic() + 30
        while not (runs := self.call("GET", f"/dags/{name}/dagRuns", params={"run_type": kind})["dag_runs"]):
            assert time.monotonic() < deadline, f"{name} has no {kind} run"
            time.sleep(0.2)
        return str(runs[0]["dag_run_id"])

    def kill(self, name: str, run_id: str, kill: Kill) -> None:
        """Wait for the moment, then kill the process."""
        deadline = time.monotonic() + RUN_SECONDS
        refreshed, task_instance = 0.0, ""
        while time.monotonic() < deadline:
            if time.monotonic() - refreshed > 0.3:
                found = self.call("GET", f"/dags/{name}/dagRuns/{run_id}/taskInstances/{kill.task_id}")
                task_instance, refreshed = found["id"], time.monotonic()
                assert found["state"] not in ("success", "failed"), f"{kill} came too late: the task is over"
            victim = self._find(task_instance, kill.victim)
            if victim is not None and kill.when():
                os.kill(victim, signal.SIGKILL)
                return
            time.sleep(0.002)
        raise AssertionError(f"{kill} never came to pass")

    def _find(self, task_instance: str, victim: Victim) -> int | None:
        """Return the process; none before the task has told Airflow that it runs.

        Airflow's LocalExecutor never learns of a supervisor that dies earlier; its task stays queued for ever.
        """
        titles = {_title(pid): pid for pid in session_members(self.services.components["scheduler"].pid or 0)}
        runner = titles.get(f"airflow worker -- {task_instance}")
        if runner is None or victim == "runner":
            return runner
        if victim == "supervisor":
            return titles.get(f"airflow worker -- LocalExecutor: {task_instance}")
        return _java_below(runner)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _java_below(pid: int) -> int | None:
    try:
        below = psutil.Process(pid).children(recursive=True)
        return next((process.pid for process in below if process.name() == "java"), None)
    except psutil.NoSuchProcess:
        return None


def _catalog_url(home: Home, name: str) -> str:
    return f"sqlite:///{home.folder / name}.db"


def _connection(home: Home, name: str) -> str:
    tiers = [{"name": tier, "class": tier, "url": str(home.tiers / name / tier)} for tier in ("hot", "cold")]
    return json.dumps({"conn_type": "dataflow", "extra": {"catalog_url": _catalog_url(home, name), "tiers": tiers}})


def _write_dag(folder: Path, name: str, landing: Path) -> None:
    """Write the nightly DAG under another name, for another store, with retries that come at once."""
    arguments = f'{{"retries": 8, "retry_delay": timedelta(seconds=1), "dataflow_conn_id": "{name}"}}'
    changes = [
        (f'"{DAG_ID}"', f'"{name}"', 1),
        (r"default_args=\{.*\}", f"default_args={arguments}", 1),
        (r"\(publish_url\(\)", f'("s3://{BUCKET}/{name}"', 1),
        (r"\(landing_url\(\)", f'("{landing.as_uri()}"', 2),
        (r'"15 2 \* \* \*"', '"15 2 1 1 *"', 1),  # yearly, so that no midnight comes between the runs of two stores
    ]
    text = (dags_folder() / f"{DAG_ID}.py").read_text(encoding="utf-8")
    (folder / f"{name}.py").write_text(_changed(text, changes), encoding="utf-8")


def _write_transfer_dag(folder: Path, source: Path) -> None:
    """Write a DAG whose only task sends a folder to the bucket, slowly enough to be killed in the middle."""
    options = {"bytes_per_second": TRANSFER_BYTES_PER_SECOND, "parts_at_once": TRANSFER_WORKERS}
    text = f"""
        from datetime import timedelta
        from airflow.sdk import DAG
        from airflow_dataflow.operators.transfer import TransferOperator

        with DAG("{TRANSFER_DAG}", schedule=None, default_args={{"retries": 3, "retry_delay": timedelta(seconds=1)}}):
            TransferOperator(
                task_id="transfer",
                source="{source.as_uri()}",
                target="s3://{BUCKET}/{TRANSFER_DAG}",
                transfer_options={options},
                dataflow_conn_id="undisturbed",
            )
    """
    (folder / f"{TRANSFER_DAG}.py").write_text(textwrap.dedent(text), encoding="utf-8")


def _write_dag_without_schedule(folder: Path) -> None:
    text = (dags_folder() / f"{DAG_ID}.py").read_text(encoding="utf-8")
    text = _changed(text, [(r"(?s)schedule=.*?\n    start_date", "schedule=None,\n    start_date", 1)])
    (folder / f"{DAG_ID}.py").write_text(text, encoding="utf-8")


def _changed(text: str, changes: list[tuple[str, str, int]]) -> str:
    for pattern, new, times in changes:
        text, count = re.subn(pattern, new, text)
        assert count == times, f"the nightly DAG has changed: {pattern} occurs {count} times"
    return text


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Return a running Airflow whose DAGs are paused, with a night's files in its landing folder."""
    folder = tmp_path_factory.mktemp("e2e")
    dags = folder / "dags"
    dags.mkdir()
    _write_dag_without_schedule(dags)
    home = Home(folder / "home")
    with home.in_use(clean=True):
        settings = {f"AIRFLOW_CONN_{name.upper()}": _connection(home, name) for name in STORES} | {
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        }
        services = Services(home, dags, settings=settings)
        with services.running(), services.api() as api:
            harness = Harness(services, api)
            write_night(folder / "night", 1, SAMPLES)
            _write_transfer_dag(dags, harness.transfer_source)
            for name in STORES:
                shutil.copytree(folder / "night", harness.landing(name))  # with the same times of change
                _write_dag(dags, name, harness.landing(name))
            services.start_airflow()
            for name in (*STORES, DAG_ID, TRANSFER_DAG):
                api.wait_for_dag(name, seconds=60, check=services.check)
            yield harness


@pytest.fixture(scope="session")
def undisturbed(airflow: Harness) -> dict[str, bytes]:
    """Return what a scheduled run publishes in which nothing dies."""
    run_id = airflow.scheduled_run("undisturbed")
    state, tasks = airflow.wait("undisturbed", run_id)
    assert state == "success", tasks
    assert {task.try_number for task in tasks.values()} <= {0, 1}
    return airflow.published("undisturbed")
