"""Whatever dies, and whenever: the retry publishes the same bytes, and no version exists twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_dataflow.demo.processes import session_members
from tests.e2e.conftest import Harness, Kill

pytestmark = [pytest.mark.e2e, pytest.mark.spark, pytest.mark.timeout(400)]

DATASETS = [f"support/{part}" for part in ("clean", "evaluation", "features", "model", "raw")]


def _has(folder: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(folder.glob(pattern))


@pytest.mark.parametrize("name", ["runners", "supervisors"])
def test_killed_tasks_publish_the_same_bytes(airflow: Harness, undisturbed: dict[str, bytes], name: str) -> None:
    run_id = airflow.scheduled_run(name)
    kills = _kills(airflow, name)
    for kill in kills:
        airflow.kill(name, run_id, kill)
    state, tasks = airflow.wait(name, run_id)
    airflow.pause(name)
    assert state == "success", tasks
    assert {kill.task_id: tasks[kill.task_id].try_number > 1 for kill in kills} == {
        kill.task_id: True for kill in kills
    }
    assert _differences(airflow.published(name), undisturbed) == []
    store = airflow.store(name)
    assert {dataset: len(store.catalog.manifests(dataset)) for dataset in store.catalog.datasets()} == dict.fromkeys(
        DATASETS, 1
    )
    for dataset in DATASETS:
        assert store.verify(store.manifest(dataset))


def _kills(airflow: Harness, name: str) -> list[Kill]:
    hot = airflow.tiers(name) / "hot" / "support"
    spark_works = _has(hot, "model/*/_work*/scratch/*")
    if name == "runners":
        return [
            Kill("ingest", "runner", lambda: True),
            Kill("ingest", "runner", _has(hot, "raw/*/data/*")),
            Kill("clean", "runner", _has(hot, "clean/*/data/*")),
            Kill("features", "runner", _has(hot, "features/*/data/train/*")),
            Kill("train", "runner", spark_works),
            Kill("train", "java", spark_works),
            Kill("publish", "runner", lambda: bool(airflow.published_keys(name))),
        ]
    return [
        Kill("clean", "supervisor", _has(hot, "clean/*/data/*")),
        Kill("train", "supervisor", spark_works),
        Kill("publish", "supervisor", lambda: bool(airflow.published_keys(name))),
    ]


def test_no_process_of_a_killed_task_is_left(airflow: Harness) -> None:
    scheduler = airflow.services.components["scheduler"].pid or 0
    names = [psutil.Process(pid).name() for pid in session_members(scheduler)]
    assert "java" not in names


def _differences(got: dict[str, bytes], expected: dict[str, bytes]) -> list[Any]:
    return [key for key in sorted(got.keys() | expected.keys()) if got.get(key) != expected.get(key)]
