"""What Airflow reads about this provider."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.configuration import conf
from airflow.sdk.module_loading import import_string
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

import airflow_dataflow
from airflow_dataflow.provider_info import get_provider_info


@pytest.mark.parametrize("kind", ["operators", "sensors", "hooks", "triggers"])
def test_every_module_of_a_kind_is_listed_and_there(kind):
    folder = Path(airflow_dataflow.__file__).parent / kind
    there = {f"airflow_dataflow.{kind}.{path.stem}" for path in folder.glob("[a-z]*.py")}
    listed = [module for item in get_provider_info()[kind] for module in item["python-modules"]]
    assert sorted(there) == listed


def test_the_description_has_the_form_that_airflow_asks_for():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    connections = json.loads(files("airflow").joinpath("provider.yaml.schema.json").read_text())
    jsonschema.validate(get_provider_info()["connection-types"], connections["properties"]["connection-types"])


def test_every_class_and_function_that_is_named_exists():
    info = get_provider_info()
    names = [*info["cli"], *info["extra-links"]]
    names += [item["hook-class-name"] for item in info["connection-types"]]
    names += [item[key] for item in info["asset-uris"] for key in ("handler", "to_openlineage_converter")]
    for name in names:
        assert callable(import_string(name)), name


def test_airflow_knows_the_provider_and_what_it_adds():
    manager = ProvidersManagerTaskRuntime()
    assert ProvidersManager().providers["airflow-dataflow"].version == airflow_dataflow.__version__
    assert manager.hooks["dataflow"].hook_class_name == "airflow_dataflow.hooks.dataflow.DataflowHook"
    assert "dataflow" in manager.asset_uri_handlers
    assert conf.get("dataflow", "landing_url")


def test_the_web_ui_has_a_form_for_the_connection():
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    form = next(item for item in HookMetaService.hook_meta_data() if item.connection_type == "dataflow")
    assert form.hook_name == "Dataflow store"
    assert set(form.extra_fields) == {"catalog_url", "catalog_conn_id", "tiers"}
    assert form.standard_fields.password.title == "Catalog password"
    assert form.standard_fields.host.hidden


def test_the_wheel_announces_the_provider_and_its_plugin():
    assert [entry.load() for entry in entry_points(group="apache_airflow_provider", name="provider_info")]
    names = {entry.value for entry in entry_points(group="airflow.plugins")}
    assert "airflow_dataflow.plugin:DataflowPlugin" in names
