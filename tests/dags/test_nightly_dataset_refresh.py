"""The reference DAG, copied away from the repository and run on real files."""

from __future__ import annotations

import importlib.util
import shutil
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_dataflow.demo.samples import SampleOptions, write_night

pytestmark = pytest.mark.airflow

FILE = Path(__file__).parents[2] / "dags" / "nightly_dataset_refresh.py"
NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
TASKS = [
    "wait_for_files",
    "ingest",
    "clean",
    "features",
    "train",
    "evaluate",
    "gate",
    "publish",
    "cool_down",
    "sweep",
]


@pytest.fixture
def load(tmp_path):
    """Return a function that imports a copy of the DAG's file, as Airflow does."""

    def load():
        copy = shutil.copy(FILE, tmp_path / "copied_dag.py")
        spec = importlib.util.spec_from_file_location("copied_dag", copy)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.dag

    return load


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Set the landing and publishing folders of this deployment, and return them."""
    landing, published = tmp_path / "landing", tmp_path / "published"
    landing.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFLOW__LANDING_URL", str(landing))
    monkeypatch.setenv("AIRFLOW__DATAFLOW__PUBLISH_URL", str(published))
    return landing, published


def test_the_file_is_wiring_that_fits_on_a_page():
    assert len(FILE.read_text().splitlines()) <= 80


def test_parsing_it_again_takes_a_fraction_of_a_second(load):
    load()
    start = time.process_time()
    load()
    assert time.process_time() - start < 0.3


def test_the_tasks_follow_each_other(load):
    dag = load()
    assert [task.task_id for task in dag.topological_sort()] == TASKS
    for task_id, follower in pairwise(TASKS):
        assert follower in dag.get_task(task_id).downstream_task_ids


def test_the_form_of_the_trigger_has_the_places_of_this_deployment_and_nothing_to_fill_in(load, places):
    landing, published = places
    params = load().params
    params.validate()
    assert (params["source"], params["publish_url"]) == (str(landing), str(published))
    assert all(params.get_param(name).schema.get("title") for name in params)


def test_it_runs_by_night_and_when_the_landing_folder_says_so(load, places, serialized):
    schedule = serialized(load()).timetable
    assert schedule.summary == "Asset or 15 2 * * *"
    assert [asset.uri for _, asset in schedule.asset_condition.iter_assets()] == [places[0].as_uri()]


def test_what_may_pass_is_tried_again_with_growing_pauses(load):
    for task in load().tasks:
        assert (task.retries, task.retry_exponential_backoff) == (3, True)


@pytest.mark.spark
def test_a_night_runs_from_raw_files_to_a_published_version(load, places, connected_store, run_dag, events, tmp_path):
    landing, published = places
    write_night(landing, 1, SampleOptions(rows=(900, 300)))
    first = run_dag(load(), run_after=NIGHT, logical_date=None)
    assert _states(first) == dict.fromkeys(TASKS, "success")
    parts = ("raw", "clean", "features", "model", "evaluation")
    versions = {part: connected_store.manifest(f"support/{part}@latest") for part in parts}
    for manifest in versions.values():
        assert manifest.created_at == NIGHT
        assert manifest.rows_in == manifest.rows_out + manifest.rows_quarantined
    assert versions["clean"].rows_quarantined > 0
    for part in parts[1:]:
        assert (published / "support" / part / versions[part].version / "_manifest.json").exists()
    told = dict(events(first))
    assert told["dataflow://dataflow_default/support/model"]["reference"] == versions["model"].reference
    assert told["dataflow://dataflow_default/support/evaluation"]["metrics"]["macro_f1"] > 0.5
    assert told[published.as_uri()]["files"] > 0

    # A scheduled night without a new file does the same work once.
    later = NIGHT + timedelta(days=1)
    assert _states(run_dag(load(), run_after=later, logical_date=later)) == dict.fromkeys(TASKS, "success")
    assert {part: connected_store.manifest(f"support/{part}@latest") for part in parts} == versions

    # A model that is not good enough is not published.
    elsewhere = tmp_path / "elsewhere"
    conf = {"gate": {"metric": "macro_f1", "min_value": 1.1}, "publish_url": str(elsewhere)}
    third = run_dag(load(), run_after=NIGHT + timedelta(days=2), logical_date=None, run_conf=conf)
    assert (_states(third)["gate"], _states(third)["publish"]) == ("failed", "upstream_failed")
    assert third.get_task_instance("gate").try_number == 1
    assert not elsewhere.exists()


def _states(run):
    return {task.task_id: str(task.state) for task in run.get_task_instances()}
