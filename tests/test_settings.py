"""The section ``[dataflow]`` of Airflow's configuration."""

from __future__ import annotations

import os

import pytest

from airflow_dataflow import settings


@pytest.mark.parametrize("name", ["landing_url", "publish_url"])
def test_an_option_has_a_default_below_airflows_home_and_can_be_set(name, monkeypatch):
    read = getattr(settings, name)
    assert read() == f"{os.environ['AIRFLOW_HOME']}/{name.removesuffix('_url').replace('publish', 'published')}"
    monkeypatch.setenv(f"AIRFLOW__DATAFLOW__{name.upper()}", "s3://aws_default@bucket/somewhere")
    assert read() == "s3://aws_default@bucket/somewhere"
