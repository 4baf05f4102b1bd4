"""The operator that extracts features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG

from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.operators.features import ExtractFeaturesOperator

pytestmark = pytest.mark.airflow

RECIPE = {"id": "message_id", "text": "body", "label": "intent", "features": [{"text_statistics": {}}]}


@pytest.fixture
def extract(connected_store, landing, run_dag):
    """Return a function that ingests the landing folder and extracts features of the version in a DAG."""
    ingest(connected_store, str(landing), "support/clean", at=datetime(2026, 11, 23, tzinfo=UTC))

    def run(recipe):
        with DAG("extracts", schedule=None, params={"dataset": "support"}) as dag:
            ExtractFeaturesOperator(
                task_id="extract",
                source="{{ params.dataset }}/clean@latest",
                target="{{ params.dataset }}/features",
                recipe=recipe,
                retries=9,
                retry_delay=timedelta(0),
            )
        return run_dag(dag, logical_date=None)

    return run


def test_the_features_become_a_version_and_an_event(extract, connected_store, returned, events, lineage):
    run = extract(RECIPE)
    assert run.state == "success"
    manifest = connected_store.manifest(returned(run, "extract"))
    assert (manifest.dataset, manifest.rows_in) == ("support/features", 6)
    ((uri, extra),) = events(run)
    assert (uri, extra["reference"]) == ("dataflow://dataflow_default/support/features", manifest.reference)
    assert lineage() == (["dataflow://dataflow_default/support/clean"], [uri])


def test_a_missing_column_fails_at_once_with_its_name(extract, capfd):
    (task,) = extract({**RECIPE, "text": "boddy"}).get_task_instances()
    assert (task.state, task.try_number) == ("failed", 1)
    assert "'boddy'" in capfd.readouterr().out
