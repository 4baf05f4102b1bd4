"""The demo's tiers: three folders, or a folder, HDFS and S3 with real servers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.demo import tiers
from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.demo.home import Home
from airflow_dataflow.demo.report import show_tiers
from airflow_dataflow.demo.tiers import check_hdfs, connection_extra, hdfs_connection, local_tiers, mixed_tiers
from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import TIER_CLASSES
from airflow_dataflow.transfer.rebalance import rebalance
from tests.storage.versions import DATASET, FIRST, SECOND, check_catalog, make_version

THIRD = SECOND + timedelta(days=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def mixed(hdfs_cluster: HdfsCluster, bucket: str, s3_options: dict[str, Any], home: Home) -> Iterator[Store]:
    """Return a store with a folder, HDFS and S3."""
    home.folder.mkdir()
    made = Store(mixed_tiers(home, hdfs_cluster, bucket, s3_options), Catalog(home.catalog_url))
    yield made
    for tier in made.tiers:
        tier.directory.remove_all()


def test_local_tiers_are_folders_of_the_home(home: Home) -> None:
    assert [(tier.name, tier.tier_class, tier.url) for tier in local_tiers(home)] == [
        (name, name, (home.tiers / name).as_uri()) for name in TIER_CLASSES
    ]


@pytest.mark.hdfs
@pytest.mark.s3
def test_a_version_lies_in_a_folder_then_on_hdfs_then_on_s3(mixed: Store) -> None:
    versions = []
    for at in (FIRST, SECOND, THIRD):
        versions.append(make_version(mixed, at))
        rebalance(mixed)
    held = [mixed.catalog.replicas(DATASET, version.version) for version in versions]
    assert [[replica.tier for replica in replicas] for replicas in held] == [["cold"], ["warm"], ["hot"]]
    assert [replicas[0].url.partition("://")[0] for replicas in held] == ["s3", "hdfs", "file"]
    for version in versions:
        mixed.verify(version)
    check_catalog(mixed)
    console = Console(width=240, file=io.StringIO(), record=True)
    show_tiers(console, mixed)
    text = console.export_text()
    for tier, version in zip(("cold", "warm", "hot"), versions, strict=True):
        folder = mixed.tier(tier).directory
        assert f"{folder.url}" in text
        assert sum(folder.files().values()) > version.total_bytes


@pytest.mark.hdfs
@pytest.mark.s3
@pytest.mark.airflow
def test_tasks_open_the_same_tiers_through_connections(
    mixed: Store, hdfs_cluster: HdfsCluster, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_dataflow.hooks.dataflow import DataflowHook

    extra = {"catalog_url": home.catalog_url, "tiers": connection_extra(mixed.tiers)}
    assert "secret" not in json.dumps(extra)
    monkeypatch.setenv("AIRFLOW_CONN_DATAFLOW_DEFAULT", json.dumps({"conn_type": "dataflow", "extra": extra}))
    monkeypatch.setenv("AIRFLOW_CONN_WEBHDFS_DEFAULT", json.dumps(hdfs_connection(hdfs_cluster)))
    make_version(mixed, FIRST)
    make_version(mixed, SECOND)
    opened = DataflowHook().store
    assert [tier.url for tier in opened.tiers] == [tier.url for tier in mixed.tiers]
    assert [(move.source, move.target) for move in rebalance(opened)] == [("hot", "warm")]
    check_catalog(mixed)


def test_a_missing_client_of_hdfs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "find_spec", lambda name: None if name == "hdfs_native" else object())
    with pytest.raises(MissingPackageError, match=r"\(hdfs_native\): run pip install 'airflow-dataflow\[demo\]'"):
        check_hdfs()
