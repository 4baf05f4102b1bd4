"""The operator that cleans datasets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from airflow.sdk import DAG, Param

from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.operators.cleaning import CleanDatasetOperator

pytestmark = pytest.mark.airflow

RECIPE = {
    "id": "message_id",
    "text": "body",
    "label": "intent",
    "rules": [{"not_null": {"columns": ["body"]}}, {"exact_duplicates": {}}],
}


@pytest.fixture
def clean(connected_store, landing, run_dag):
    """Return a function that ingests the landing folder and cleans the version in a DAG."""
    ingest(connected_store, str(landing), "support/raw", at=datetime(2026, 11, 23, tzinfo=UTC))

    def run(recipe, conf=None):
        params = {"recipe": Param(RECIPE, type=["object", "string"])}
        with DAG("cleans", schedule=None, params=params) as dag:
            CleanDatasetOperator(
                task_id="clean",
                source="support/raw@latest",
                target="support/clean",
                recipe=dag.param("recipe") if recipe is None else recipe,
                retries=9,
                retry_delay=timedelta(0),
            )
        return run_dag(dag, logical_date=None, run_conf=conf)

    return run


def test_a_task_leaves_a_record_of_what_it_has_read(clean, connected_store):
    assert clean(RECIPE).state == "success"
    raw = connected_store.manifest("support/raw")
    (read,) = connected_store.catalog.reads("support/raw", purposes=["use"])
    assert (read.reference, read.tier) == (raw.reference, "hot")
    assert read.bytes > 0
    assert read.files == len(raw.files_under("data"))
    who = read.reader
    assert (who.dag_id, who.task_id, who.map_index, who.try_number) == ("cleans", "clean", -1, 1)
    assert who.run_id.startswith("manual__")


def _recipe_file(folder):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


@pytest.mark.parametrize(
    "form",
    [lambda folder: RECIPE, lambda folder: json.dumps(RECIPE), _recipe_file, lambda folder: None],
    ids=["mapping", "text", "file", "param"],
)
def test_a_recipe_may_be_a_mapping_a_text_a_file_or_a_param(clean, connected_store, tmp_path, form, returned):
    run = clean(form(tmp_path))
    assert run.state == "success"
    manifest = connected_store.manifest(returned(run, "clean"))
    assert (manifest.dataset, manifest.rows_in, manifest.rows_out) == ("support/clean", 6, 4)
    assert sum(manifest.quarantined_by_reason.values()) == 2


def test_a_param_of_one_run_may_name_a_recipe_file(clean, connected_store, tmp_path):
    assert clean(None, conf={"recipe": _recipe_file(tmp_path)}).state == "success"
    assert connected_store.manifest("support/clean").rows_out == 4


def test_the_event_tells_why_rows_were_rejected_and_lineage_where_they_came_from(clean, events, lineage):
    ((uri, extra),) = events(clean(RECIPE))
    assert uri == "dataflow://dataflow_default/support/clean"
    assert sum(extra["quarantined_by_reason"].values()) == extra["rows_quarantined"] == 2
    assert lineage() == (["dataflow://dataflow_default/support/raw"], [uri])


def test_the_button_opens_the_report_of_the_version(clean, connected_store, returned):
    run = clean(RECIPE)
    task = run.get_task_instance("clean")
    dataset, _, version = returned(run, "clean").partition("@")
    link = task.xcom_pull(task_ids="clean", key="_link_ReportLink")
    assert link.endswith(f"/dataflow/reports/dataflow_default/{dataset}/{version}")
    assert connected_store.directory(connected_store.manifest(dataset)).exists("report.html")


def test_an_unknown_rule_fails_at_once_with_a_hint(clean, capfd):
    run = clean({**RECIPE, "rules": [{"not_nul": {}}]})
    (task,) = run.get_task_instances()
    assert (task.state, task.try_number) == ("failed", 1)
    assert "did you mean 'not_null'" in capfd.readouterr().out
    assert not task.xcom_pull(task_ids="clean", key="_link_ReportLink")
