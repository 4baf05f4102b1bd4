"""The hook of the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_dataflow.hooks.dataflow import DataflowHook


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch):
    """Define the connection ``store`` with the given extras, and return its hook."""

    def define(extras, conn_type="dataflow", password=None):
        connection = {"conn_type": conn_type, "password": password, "extra": extras}
        monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
        return DataflowHook("store")

    return define


def _extras(folder: Path, **changes):
    tiers = [
        {"name": "cold", "class": "cold", "url": f"{folder}/cold"},
        {"name": "hot", "class": "hot", "url": f"{folder}/hot"},
    ]
    return {"catalog_url": f"sqlite:///{folder}/catalog.db", "tiers": tiers} | changes


def test_a_connection_gives_a_store_with_the_nearest_tier_first(connect, tmp_path):
    store = connect(_extras(tmp_path)).store
    assert [tier.name for tier in store.tiers] == ["hot", "cold"]
    assert store.catalog.datasets() == []
    assert (tmp_path / "catalog.db").exists()


def test_tiers_may_be_json_text_as_the_form_in_the_web_ui_stores_them(connect, tmp_path):
    extras = _extras(tmp_path)
    store = connect(extras | {"tiers": json.dumps(extras["tiers"])}).store
    assert store.hot.url == f"{tmp_path}/hot"
