"""The client of Airflow's API, against a server that answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from airflow_dataflow.demo import api as api_module
from airflow_dataflow.demo.api import AirflowApi, TaskState
from airflow_dataflow.errors import JobFailedError

Answer = tuple[int, Any]


class Server(HTTPServer):
    """Answers each path with the next of its answers; the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.token: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append((self.command, path, body))
        answers = self.server.answers[path]
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        if (
            self.server.token
            and path != "/auth/token"
            and self.headers["Authorization"] != f"Bearer {self.server.token}"
        ):
            status, content = 401, {"detail": "log in"}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def api(server: Server) -> Iterator[AirflowApi]:
    with AirflowApi(server.url, "admin", "secret") as api:
        yield api


def test_the_client_logs_in_when_the_server_asks_for_it_and_only_then(server: Server, api: AirflowApi) -> None:
    server.token = "t1"
    server.answers = {
        "/auth/token": [(201, {"access_token": "t1"})],
        "/api/v2/dags/d/dagRuns/r": [(200, {"state": "running"})],
    }
    assert [api.run_state("d", "r"), api.run_state("d", "r")] == ["running", "running"]
    assert [asked for asked in server.asked if asked[1] == "/auth/token"] == [
        ("POST", "/auth/token", {"username": "admin", "password": "secret"})
    ]


def test_a_busy_server_is_asked_again(server: Server, api: AirflowApi) -> None:
    server.answers = {"/api/v2/dags/d/dagRuns/r": [(503, {}), (500, {}), (200, {"state": "success"})]}
    assert api.run_state("d", "r") == "success"


def test_a_server_that_stays_broken_is_reported(
    server: Server, api: AirflowApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_RETRIES", 1)
    server.answers = {"/api/v2/dags/d/dagRuns/r": [(500, {"detail": "database is locked"})]}
    with pytest.raises(JobFailedError, match=r"GET /api/v2/dags/d/dagRuns/r with 500.*database is locked"):
        api.run_state("d", "r")


def test_a_trigger_is_sent_once_with_its_values(server: Server, api: AirflowApi) -> None:
    server.answers = {"/api/v2/dags/d/dagRuns": [(200, {"dag_run_id": "manual__1"})]}
    moment = datetime(2026, 11, 1, 2, 15, tzinfo=UTC)
    assert api.trigger("d", {"dataset": "mine"}, run_after=moment) == "manual__1"
    assert [body for _, _, body in server.asked] == [
        {"logical_date": None, "conf": {"dataset": "mine"}, "run_after": "2026-11-01T02:15:00+00:00"}
    ]


def test_a_refused_trigger_is_reported_with_the_reason(server: Server, api: AirflowApi) -> None:
    server.answers = {"/api/v2/dags/d/dagRuns": [(400, {"detail": "Invalid input for param gate"})]}
    with pytest.raises(JobFailedError, match=r"with 400: .*Invalid input for param gate"):
        api.trigger("d", {"gate": 1})


def test_components_that_do_not_answer_are_unhealthy(server: Server, api: AirflowApi) -> None:
    healthy = {"status": "healthy"}
    server.answers = {
        "/api/v2/monitor/health": [
            (200, {"metadatabase": healthy, "scheduler": healthy, "dag_processor": {"status": None}, "triggerer": None})
        ]
    }
    assert api.unhealthy() == ["dag-processor", "triggerer"]


def test_a_server_that_is_not_there_is_unhealthy() -> None:
    with AirflowApi("http://127.0.0.1:9", "admin", "secret") as api:
        assert api.unhealthy() == ["api-server"]


def test_waiting_for_a_dag_that_cannot_be_imported_ends_with_the_error(server: Server, api: AirflowApi) -> None:
    error = {"filename": "dags/d.py", "stack_trace": "ImportError: no module named x"}
    server.answers = {
        "/api/v2/dags/d": [(404, {})],
        "/api/v2/importErrors": [(200, {"import_errors": []}), (200, {"import_errors": [error]})],
    }
    with pytest.raises(JobFailedError, match=r"(?s)no DAG 'd'.*dags/d\.py:\nImportError: no module named x"):
        api.wait_for_dag("d", seconds=20, check=lambda: None)


def test_tasks_are_ordered_by_their_dependencies(server: Server, api: AirflowApi) -> None:
    edges = {"publish": [], "clean": ["train"], "train": ["publish"], "ingest": ["clean", "train"]}
    tasks = [{"task_id": task, "downstream_task_ids": after} for task, after in edges.items()]
    server.answers = {"/api/v2/dags/d/tasks": [(200, {"tasks": tasks})]}
    assert api.task_order("d") == ["ingest", "clean", "train", "publish"]


def test_a_task_without_a_result_has_none(server: Server, api: AirflowApi) -> None:
    path = "/api/v2/dags/d/dagRuns/r/taskInstances/t"
    server.answers = {
        f"{path}/xcomEntries/return_value": [(404, {})],
        f"{path}/state-store/progress": [(404, {})],
    }
    assert api.result("d", "r", "t") is None
    assert api.progress("d", "r", "t") == ""


def test_progress_is_told_in_words(server: Server, api: AirflowApi) -> None:
    value = {"what": "training", "done": 1000, "total": 4302, "unit": "rows"}
    server.answers = {"/api/v2/dags/d/dagRuns/r/taskInstances/t/state-store/progress": [(200, {"value": value})]}
    assert api.progress("d", "r", "t") == "training: 1,000 of 4,302 rows"


@pytest.mark.parametrize(
    ("state", "finished"),
    [(None, False), ("running", False), ("deferred", False), ("up_for_retry", False), ("success", True),
     ("failed", True), ("skipped", True), ("upstream_failed", True), ("removed", True)],
)  # fmt: skip
def test_a_task_is_finished_when_its_state_is_final(state: str | None, finished: bool) -> None:
    assert TaskState("t", state, 1, None, None).is_finished is finished


def test_a_task_s_seconds_run_until_its_end_or_now() -> None:
    start, end, now = (datetime(2026, 11, 1, 2, 0, second, tzinfo=UTC) for second in (1, 4, 9))
    assert TaskState("t", "running", 1, start, None).seconds(now) == 8
    assert TaskState("t", "success", 1, start, end).seconds(now) == 3
    assert TaskState("t", None, 0, None, None).seconds(now) is None
