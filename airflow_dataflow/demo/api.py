"""A small client of Airflow's REST API: trigger a run, watch it, read what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from airflow_dataflow.errors import JobFailedError

_COMPONENTS = ("scheduler", "dag_processor", "triggerer")
_UNFINISHED = frozenset({None, "scheduled", "queued", "running", "restarting", "deferred", "up_for_retry",
                         "up_for_reschedule", "awaiting_input"})  # fmt: skip
_RETRIES = 4


@dataclass(frozen=True)
class TaskState:
    """How a task of a run stands."""

    task_id: str
    state: str | None
    """Airflow's word, ``None`` before it is scheduled."""
    try_number: int
    """1 for the first attempt."""
    started: datetime | None
    ended: datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self.state not in _UNFINISHED

    @property
    def failed(self) -> bool:
        """Whether it ended with an error of its own."""
        return self.state == "failed"

    def seconds(self, now: datetime) -> float | None:
        """Return how long it has run until it ended or until ``now``; ``None`` before its start."""
        return None if self.started is None else ((self.ended or now) - self.started).total_seconds()


class AirflowApi:
    """A client that is logged in at its first call.

    :param url: of the web server, e.g. ``http://127.0.0.1:8080``.
    :param user: name.
    :param password: of the user.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, auth=_Login(url, user, password), timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._client.close()

    def unhealthy(self) -> list[str]:
        """Return the names of the components that do not say that they are well, the web server itself included."""
        try:
            answer = self._client.get("/api/v2/monitor/health", auth=None)
        except httpx.TransportError:
            return ["api-server"]
        if answer.status_code != httpx.codes.OK:
            return ["api-server"]
        health = answer.json()
        return [name.replace("_", "-") for name in _COMPONENTS if (health.get(name) or {}).get("status") != "healthy"]

    def wait_for_dag(self, dag_id: str, *, seconds: float, check: Callable[[], None]) -> None:
        """Return when Airflow has read the DAG.

        :param seconds: how long that may take.
        :param check: called while waiting; raises when waiting is in vain.
        :raises JobFailedError: when it has not; the message has Airflow's import errors.
        """
        deadline = time.monotonic() + seconds
        while self._try_get(f"/dags/{dag_id}").status_code == httpx.codes.NOT_FOUND:
            check()
            errors = self._get("/importErrors")["import_errors"]
            if errors or time.monotonic() > deadline:
                reason = "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors)
                raise JobFailedError(f"Airflow has no DAG {dag_id!r} after {seconds:.0f} seconds\n{reason}".rstrip())
            time.sleep(0.25)

    def trigger(self, dag_id: str, conf: Mapping[str, Any], *, run_after: datetime | None = None) -> str:
        """Start a run and return its id.

        :param conf: values for the DAG's params.
        :param run_after: the run's moment; now when ``None``.
        """
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if run_after is not None:
            body["run_after"] = run_after.isoformat()
        answer = self._client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        run_id: str = self._checked(answer).json()["dag_run_id"]
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return ``queued``, ``running``, ``success`` or ``failed``."""
        state: str = self._get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_order(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's tasks, each after those that it depends on."""
        tasks = {
            task["task_id"]: set(task["downstream_task_ids"]) for task in self._get(f"/dags/{dag_id}/tasks")["tasks"]
        }
        order: list[str] = []
        while tasks:
            waiting = set().union(*tasks.values())
            ready = [task_id for task_id in tasks if task_id not in waiting]
            order += ready
            for task_id in ready:
                del tasks[task_id]
        return order

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return how the tasks of a run stand."""
        items = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return [
            TaskState(
                task_id=item["task_id"],
                state=item["state"],
                try_number=item["try_number"],
                started=_moment(item["start_date"]),
                ended=_moment(item["end_date"]),
            )
            for item in items
        ]

    def result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned, ``None`` when it returned nothing."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self._try_get(path, deserialize=True)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._checked(answer).json()["value"]

    def progress(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return what a running task says of its progress, empty when it says nothing."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/state-store/progress"
        answer = self._try_get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return ""
        value = self._checked(answer).json()["value"]
        return f"{value['what']}: {value['done']:,} of {value['total']:,} {value['unit']}"

    def last_words(self, dag_id: str, run_id: str, task: TaskState) -> str:
        """Return the last line that an operator or the library wrote to a task's log, empty when there is none."""
        said = [
            str(event["event"])
            for event in self.log(dag_id, run_id, task)
            if str(event.get("logger")).startswith(("airflow.task.operators", "airflow_dataflow"))
        ]
        return said[-1] if said else ""

    def log(self, dag_id: str, run_id: str, task: TaskState) -> Iterator[dict[str, Any]]:
        """Yield the events of a task's last attempt, each with ``event`` and mostly ``level``."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
        for item in self._get(path, full_content=True)["content"]:
            yield item if isinstance(item, dict) else {"event": item}

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        content: dict[str, Any] = self._checked(self._try_get(path, **params)).json()
        return content

    def _try_get(self, path: str, **params: Any) -> httpx.Response:
        """Read something; a server that is too busy to answer is asked again."""
        for attempt in range(_RETRIES):
            try:
                answer = self._client.get(f"/api/v2{path}", params=params)
            except httpx.TransportError:
                time.sleep(2**attempt / 4)
                continue
            if not answer.is_server_error:
                return answer
            time.sleep(2**attempt / 4)
        return self._client.get(f"/api/v2{path}", params=params)

    @staticmethod
    def _checked(answer: httpx.Response) -> httpx.Response:
        if not answer.is_success:
            request = answer.request
            raise JobFailedError(
                f"Airflow answered {request.method} {request.url.path} with {answer.status_code}: {answer.text:.500}"
            )
        return answer


class _Login(httpx.Auth):
    """Logs in when the server asks for it, and again when the token has expired."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._request = httpx.Request("POST", f"{url}/auth/token", json={"username": user, "password": password})
        self._token: str | None = None

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with the token; after a refusal get a token and send it again."""
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            login = yield self._request
            login.raise_for_status()
            self._token = login.json()["access_token"]
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
