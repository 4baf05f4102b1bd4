"""The nightly DAG under Airflow's own scheduler: on schedule, by an asset, by hand, and with what cannot work."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from airflow_dataflow.demo.options import DemoOptions
from airflow_dataflow.demo.own_file import check_own_file
from airflow_dataflow.demo.run import DAG_ID, Demo
from airflow_dataflow.demo.samples import write_night
from tests.e2e.conftest import SAMPLES, Harness

pytestmark = [pytest.mark.e2e, pytest.mark.spark, pytest.mark.timeout(400)]

PUBLISHED = ("clean", "evaluation", "features", "model")


def test_a_scheduled_run_publishes_four_versions(undisturbed: dict[str, bytes]) -> None:
    manifests = [key for key in undisturbed if key.endswith("_manifest.json")]
    assert sorted(key.rsplit("/", 2)[0] for key in manifests) == [f"support/{part}" for part in PUBLISHED]


def test_an_event_of_the_landing_asset_brings_a_night_that_reads_new_files_only(
    airflow: Harness, undisturbed: dict[str, bytes]
) -> None:
    landing = airflow.landing("undisturbed")
    write_night(landing, 2, SAMPLES)
    assets = airflow.call("GET", "/assets", params={"dag_ids": "undisturbed", "uri_pattern": "landings/undisturbed"})
    airflow.call("POST", "/assets/events", json={"asset_id": assets["assets"][0]["id"]})
    state, tasks = airflow.wait("undisturbed", airflow.wait_for_run("undisturbed", "asset_triggered"))
    assert state == "success", tasks
    store = airflow.store("undisturbed")
    for part in ("raw", "clean", "features"):
        second, first = store.catalog.manifests(f"support/{part}")
        assert sum(source.carried_from is None for source in second.sources) == 3
        assert sum(source.carried_from == first.version for source in second.sources) == len(first.sources)
        assert [replica.tier for replica in store.catalog.replicas(first.dataset, first.version) if replica.tier] == [
            "cold"
        ]
    keys = airflow.published_keys("undisturbed")
    assert len([key for key in keys if key.endswith("_manifest.json")]) == 2 * len(PUBLISHED)


@pytest.mark.parametrize(
    ("dataset", "recipe", "message"),
    [
        (
            "column",
            {"text": "bodi", "rules": [{"text_length": {"min_chars": 1}}]},
            "'bodi'",
        ),
        (
            "rule",
            {"text": "body", "rules": [{"gopher_qualty": {}}]},
            "no cleaning rule named 'gopher_qualty'; did you mean 'gopher_quality'?",
        ),
    ],
)
def test_what_cannot_work_fails_at_once_and_leaves_nothing(
    airflow: Harness, dataset: str, recipe: dict[str, Any], message: str
) -> None:
    airflow.pause(DAG_ID, paused=False)
    source = airflow.landing("undisturbed").as_uri()
    run_id = airflow.api.trigger(DAG_ID, {"source": source, "dataset": dataset, "recipe": recipe})
    state, tasks = airflow.wait(DAG_ID, run_id)
    assert state == "failed"
    assert (tasks["clean"].state, tasks["clean"].try_number) == ("failed", 1)
    assert tasks["publish"].state == "upstream_failed"
    log = " ".join(str(event) for event in airflow.api.log(DAG_ID, run_id, tasks["clean"]))
    assert message in log
    assert f"{dataset}/clean" not in airflow.services.open_store().catalog.datasets()
    left = (airflow.services.home.tiers / "hot" / dataset / "clean").rglob("*")
    assert [path for path in left if path.is_file()] == []


def test_a_person_s_own_file_becomes_a_published_version_with_every_class_reported(
    airflow: Harness, tmp_path: Path
) -> None:
    file = tmp_path / "my own file.csv"
    words = {number: [f"thing{number}{letter}" for letter in "abcdef"] for number in range(12)}
    rows = [
        f"please help with {words[number][row % 6]} and {words[number][row % 5]} row{row},{number}"
        for row in range(50)
        for number in words
    ]
    file.write_text("\n".join(["query,category", *rows]))
    airflow.pause(DAG_ID, paused=False)
    console = Console(width=140, file=io.StringIO())
    options = DemoOptions(input=file, text="query", label="category")
    assert Demo(options, airflow.services, console).own_night(check_own_file(options))
    report = cast(io.StringIO, console.file).getvalue()
    for number in words:
        assert re.search(rf"^ {number} +[01]\.\d+ +[01]\.\d+ +[01]\.\d+ .* \d+ *$", report, re.MULTILINE), report
    store = airflow.services.open_store()
    assert store.catalog.published("my-own-file/model") is not None
