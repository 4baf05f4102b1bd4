"""Datasets as Airflow assets."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from airflow_dataflow.assets import convert_asset_to_openlineage, dataset_asset, event_extra
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import InvalidInputError


def test_a_dataset_is_one_asset_however_it_is_named():
    from airflow.sdk import Asset

    assert dataset_asset("support/raw", "store").uri == "dataflow://store/support/raw"
    assert dataset_asset("support/raw", "store").uri == Asset(uri="dataflow://store/support/raw/").uri


def test_airflow_refuses_the_uri_of_what_cannot_be_a_dataset():
    from airflow.sdk import Asset

    with pytest.raises(InvalidInputError, match="Support"):
        Asset(uri="dataflow://store/Support/Raw")
    with pytest.raises(ValueError, match="must name a connection"):
        Asset(uri="dataflow:///support/raw")


def test_the_event_of_a_version_tells_its_counts_and_metrics_and_no_more():
    manifest = Manifest(
        dataset="support/clean",
        version="20261123T021500Z-4f2a9c",
        fingerprint="4f2a9c",
        rows_in=10,
        rows_out=7,
        rows_quarantined=3,
        quarantined_by_reason={"not_null": 3},
        statistics={"metrics": {"macro_f1": 0.5}, "columns": {"body": {"missing": 3}}},
    )
    assert event_extra(manifest) == {
        "reference": "support/clean@20261123T021500Z-4f2a9c",
        "dataset": "support/clean",
        "version": "20261123T021500Z-4f2a9c",
        "kind": "dataset",
        "rows_in": 10,
        "rows_out": 7,
        "rows_quarantined": 3,
        "quarantined_by_reason": {"not_null": 3},
        "files": 0,
        "bytes": 0,
        "metrics": {"macro_f1": 0.5},
    }


def test_openlineage_sees_the_store_as_namespace_and_the_dataset_as_name(monkeypatch):
    class Dataset(NamedTuple):
        namespace: str
        name: str

    # The OpenLineage client is optional; without it Airflow's stand-in for this class returns None.
    monkeypatch.setattr("airflow.providers.common.compat.openlineage.facet.Dataset", Dataset)
    assert convert_asset_to_openlineage(dataset_asset("support/raw"), None) == Dataset(
        "dataflow://dataflow_default", "support/raw"
    )
