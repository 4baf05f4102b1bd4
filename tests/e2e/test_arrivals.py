"""One run for each object that arrives, while the triggerer dies and comes back."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from airflow_dataflow.demo.processes import Service, signal_session, wait_until
from tests.e2e.conftest import Harness

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

OBJECTS = 500
DAGS = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetWatcher, PartitionedAssetTimetable

from airflow_dataflow.operators.arrivals import AnnounceObjectsOperator
from airflow_dataflow.triggers.arrivals import ObjectArrivalTrigger

trigger = ObjectArrivalTrigger(url={url!r}, formats="any", settle_seconds=0.5, poke_interval=1.0)
arrivals = Asset("arrivals", watchers=[AssetWatcher(name="watcher", trigger=trigger)])
objects = Asset("objects")

with DAG("announces", schedule=[arrivals], max_active_runs=1):
    AnnounceObjectsOperator(task_id="announce", arrivals=arrivals, objects=objects)

with DAG("each_object", schedule=PartitionedAssetTimetable(assets=objects), max_active_runs=100):
    EmptyOperator(task_id="nothing")
"""


def names_of_runs(airflow: Harness) -> Counter[str]:
    """Return the objects that runs were started for, with the number of runs."""
    names: Counter[str] = Counter()
    while True:
        runs = airflow.call("GET", "/dags/each_object/dagRuns", params={"limit": 100, "offset": names.total()})
        if not runs["dag_runs"]:
            return names
        names.update(run["partition_key"].rpartition("@")[0] for run in runs["dag_runs"])


def stored_events(airflow: Harness) -> int:
    """Return the number of events of the watched asset in Airflow's database."""
    answer = airflow.call("GET", "/assets/events", params={"name_pattern": "arrivals", "limit": 1})
    return int(answer["total_entries"])


def restart(airflow: Harness, number: signal.Signals) -> None:
    """End the triggerer by a signal, and start it again."""
    triggerer: Service = airflow.services.components["triggerer"]
    assert triggerer.pid is not None
    if number == signal.SIGKILL:
        triggerer.kill()
    else:
        signal_session(triggerer.pid, number)
        triggerer.wait(60)
    airflow.services.start_component("triggerer")


def test_a_run_starts_once_for_each_of_500_objects_while_the_triggerer_is_restarted_twice(
    airflow: Harness, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    dags = Path(airflow.services.environment["AIRFLOW__CORE__DAGS_FOLDER"])
    (dags / "arrivals.py").write_text(DAGS.format(url=landing.as_uri()))
    for name in ("announces", "each_object"):
        airflow.api.wait_for_dag(name, seconds=60, check=airflow.services.check)
        airflow.pause(name, paused=False)

    def drop(first: int, last: int) -> None:
        for number in range(first, last):
            (landing / f"object-{number:03}.bin").write_text(str(number))

    drop(0, 200)
    assert wait_until(lambda: names_of_runs(airflow).total() > 0, 90)
    before = stored_events(airflow)
    drop(200, 350)
    # Airflow has some of the new events, and the watcher does not know that yet.
    assert wait_until(lambda: stored_events(airflow) > before, 60)
    restart(airflow, signal.SIGKILL)
    drop(350, 450)
    assert wait_until(lambda: names_of_runs(airflow).total() > 360, 120)
    restart(airflow, signal.SIGTERM)
    drop(450, OBJECTS)
    expected = Counter({f"object-{number:03}.bin": 1 for number in range(OBJECTS)})
    assert wait_until(lambda: len(names_of_runs(airflow)) == OBJECTS, 120), len(names_of_runs(airflow))
    airflow.pause("announces")
    assert names_of_runs(airflow) == expected
    assert stored_events(airflow) > OBJECTS, "the kill came too late to bring an event twice"
