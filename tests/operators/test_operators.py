"""What all operators and sensors promise."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from datetime import timedelta

import pytest
from airflow.sdk import BaseOperator

import airflow_dataflow.operators
import airflow_dataflow.sensors
from airflow_dataflow.operators._dataset import DatasetOperator

REFERRED = ("source", "target", "recipe", "url", "datasets", "trainer", "reference")
"""Arguments that say what to work on; a DAG must be able to fill them in when the task runs."""


def _classes():
    for package in (airflow_dataflow.operators, airflow_dataflow.sensors):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2].startswith("_"):
                continue
            for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(found, BaseOperator) and found.__module__ == module.name:
                    yield found


CLASSES = list(_classes())
all_operators = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def _own_parameters(kind):
    """Return the parameters of a class and of our base class, without those that every Airflow operator has."""
    owners = [owner for owner in (kind, DatasetOperator) if issubclass(kind, owner)]
    return {
        name: parameter
        for owner in owners
        for name, parameter in inspect.signature(owner.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _example(name, parameter):
    return f"the {name}" if parameter.default is inspect.Parameter.empty else parameter.default


def test_the_operators_and_sensors_of_the_provider_are_found():
    names = {kind.__name__ for kind in CLASSES}
    assert {"IngestDatasetOperator", "CleanDatasetOperator", "TransferOperator", "ObjectSensor"} <= names


@all_operators
def test_every_id_path_and_connection_is_templated(kind):
    wanted = {name for name in _own_parameters(kind) if name in REFERRED or name.endswith(("_id", "_url", "_path"))}
    assert wanted <= set(kind.template_fields)
    assert "dataflow_conn_id" in wanted or kind.__name__ in ("ObjectSensor", "AnnounceObjectsOperator")


@all_operators
def test_a_constructor_stores_what_it_is_given(kind):
    parameters = _own_parameters(kind)
    given = {name: _example(name, parameter) for name, parameter in parameters.items()}
    task = kind(task_id="task", **given)
    for name, value in given.items():
        stored = getattr(task, name)
        assert stored == value or timedelta(seconds=value) == timedelta(seconds=stored), name


@all_operators
def test_arguments_are_keywords_and_an_unknown_one_is_an_error(kind):
    given = {name: _example(name, parameter) for name, parameter in _own_parameters(kind).items()}
    with pytest.raises(TypeError):
        kind(task_id="task", **given, sorce="support/raw")
    positional = [p for p in inspect.signature(kind.__init__).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [parameter.name for parameter in positional] == ["self"]


@all_operators
def test_every_parameter_is_described(kind):
    documented = f"{kind.__doc__}{DatasetOperator.__doc__ if issubclass(kind, DatasetOperator) else ''}"
    for name in _own_parameters(kind):
        assert f":param {name}:" in documented
