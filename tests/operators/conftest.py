"""What tests of operators share: landing files, and what Airflow knows after a run."""

from __future__ import annotations

from pathlib import Path

import pytest

ROWS = [
    ("m1", "my card has not arrived yet, where is it", "card_arrival"),
    ("m2", "how do I top up my account by bank transfer", "top_up"),
    ("m3", "MY CARD has not arrived yet, where is it", "card_arrival"),
    ("m4", "", "top_up"),
    ("m5", "please tell me why the exchange rate was so bad", "exchange_rate"),
    ("m6", "I want to change the pin of my new card", "change_pin"),
]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Return a folder with one CSV file of support messages."""
    folder = tmp_path / "landing"
    folder.mkdir()
    lines = ["message_id,body,intent", *(f'{key},"{body}",{intent}' for key, body, intent in ROWS)]
    (folder / "monday.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def returned():
    """Return a function that reads what a task of a run returned."""

    def of(run, task_id):
        return run.get_task_instance(task_id).xcom_pull(task_ids=task_id)

    return of


@pytest.fixture
def lineage(monkeypatch):
    """Return a function that lists the URIs that tasks have told Airflow's lineage collector: inputs, outputs."""
    from airflow.sdk.lineage import HookLineageCollector

    collector = HookLineageCollector()
    monkeypatch.setattr("airflow_dataflow.operators._context.get_hook_lineage_collector", lambda: collector)

    def collected():
        assets = collector.collected_assets
        return [item.asset.uri for item in assets.inputs], [item.asset.uri for item in assets.outputs]

    return collected
