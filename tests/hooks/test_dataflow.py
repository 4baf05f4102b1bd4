"""The hook of the store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.storage.rebuild import rebuild


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch):
    """Define the connection ``store`` with the given extras, and return its hook."""

    def define(extras, conn_type="dataflow", password=None):
        extra = extras if isinstance(extras, str) else json.dumps(extras)
        connection = {"conn_type": conn_type, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
        return DataflowHook("store")

    return define


def _extras(folder: Path, **changes):
    tiers = [{"name": name, "class": name, "url": f"{folder}/{name}"} for name in ("cold", "hot")]
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


@pytest.mark.s3
def test_a_tier_on_s3_is_opened_with_its_own_connection(connect, tmp_path, bucket):
    tier = {"name": "cold", "class": "cold", "url": f"s3://{bucket}/cold", "conn_id": "aws_default"}
    hook = connect(_extras(tmp_path, tiers=[tier | {"storage_class": "STANDARD_IA"}]))
    with hook.store.draft("support/raw", at=datetime(2026, 11, 23, tzinfo=UTC), fingerprint="4f2a9c") as draft:
        manifest = draft.commit(Rows())
    folder = hook.store.directory(manifest)
    assert folder.backend.storage_class(folder.path("_manifest.json")) == "STANDARD_IA"
    assert rebuild(hook.store).copies == 1
    assert hook.test_connection() == (
        True,
        f"The catalog opens (datasets: 1) and these tiers can be written: cold (s3://{bucket}/cold).",
    )


def test_the_password_of_the_connection_is_that_of_the_catalog_and_is_never_shown(connect, tmp_path):
    extras = _extras(tmp_path, catalog_url="postgresql://user@127.0.0.1:1/dataflow")
    hook = connect(extras, password="hidden-secret")
    assert hook.store.catalog.database.url.password == "hidden-secret"
    works, message = hook.test_connection()
    assert not works
    assert message.startswith("The catalog cannot be opened")
    assert "hidden-secret" not in message + repr(hook.store.catalog.database.__dict__) + repr(hook.store.tiers)


def test_a_tier_that_cannot_be_written_is_named(connect, tmp_path):
    (tmp_path / "cold").write_text("a file where a folder should be")
    works, message = connect(_extras(tmp_path)).test_connection()
    assert not works
    assert message.startswith(f"Tier 'cold' at {tmp_path}/cold cannot be written")


def test_a_test_of_the_connection_leaves_nothing_behind(connect, tmp_path):
    works, message = connect(_extras(tmp_path)).test_connection()
    assert works
    assert message.startswith("The catalog opens (datasets: 0)")
    assert [path for path in (tmp_path / "hot").rglob("*") if path.is_file()] == []


def test_a_connection_that_is_not_defined_is_explained():
    with pytest.raises(InvalidInputError, match="connection 'nowhere' is not defined; add one of type 'dataflow'"):
        _ = DataflowHook("nowhere").store


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"catalog": "sqlite:///x"}, r"unknown extra 'catalog'; did you mean 'catalog_url'\?"),
        ({"catalog_url": None}, "has neither of the extras 'catalog_url' and 'catalog_conn_id'"),
        ({"catalog_conn_id": "catalog"}, "has both of the extras 'catalog_url' and 'catalog_conn_id'"),
        ({"catalog_url": "postgresql://user:hidden-secret@host:port/db"}, r"no SQLAlchemy URL; its(?!.*hidden)"),
        ({"catalog_url": "no url"}, "no SQLAlchemy URL"),
        ({"tiers": None}, "has no list of tiers"),
        ({"tiers": []}, "has no list of tiers"),
        ({"tiers": "[{"}, "'tiers' that is not JSON"),
        ({"tiers": ["hot"]}, "has a tier 'hot' that is not an object"),
        ({"tiers": [{"name": "hot", "class": "hot"}]}, "has a tier without 'url'"),
        ({"tiers": [{"name": "hot", "clas": "hot"}]}, r"unknown key 'clas'; did you mean 'class'\?"),
        ({"tiers": [{"name": "hot", "class": "hott", "url": "/x"}]}, r"class 'hott'; did you mean 'hot'\?"),
    ],
)
def test_extras_that_describe_no_store_are_explained(connect, tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        _ = connect(_extras(tmp_path, **changes)).store


@pytest.mark.parametrize("extra", ["[]", "{"])
def test_extras_that_are_no_object_are_explained(connect, extra):
    with pytest.raises(InvalidInputError, match="has extras that are not"):
        _ = connect(extra).store


def test_a_connection_of_another_type_is_refused(connect, tmp_path):
    with pytest.raises(InvalidInputError, match="has type 'aws', not 'dataflow'"):
        _ = connect(_extras(tmp_path), conn_type="aws").store
