"""What tests of training share: one Spark session, and a way to run applications in it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.submission import JobSpec, RunJob
from airflow_dataflow.training.train import train_dataset
from tests.training.versions import AT, FEATURES


@pytest.fixture
def run_job(spark) -> RunJob:
    """Return a function that runs applications in the session, which takes seconds less than a process of their own."""

    def run(spec: JobSpec) -> None:
        application = importlib.import_module(f"airflow_dataflow.training.jobs.{spec.application.stem}")
        perform = importlib.import_module("airflow_dataflow.training.jobs._application").perform
        (path,) = spec.arguments
        perform(application.run, spark, Path(path))

    return run


@pytest.fixture
def train(store: Store, run_job: RunJob) -> Callable:
    """Return a function that trains on the features of the store."""

    def run(trainer="logistic_regression", parameters=None, **options):
        given = {"source": FEATURES, "target": "support/model", "at": AT, "run_job": run_job} | options
        return train_dataset(given.pop("store", store), trainer=trainer, parameters=parameters or {}, **given)

    return run


@pytest.fixture
def no_job() -> RunJob:
    """Return a function that refuses to run an application."""

    def run(spec: JobSpec) -> None:
        pytest.fail(f"{spec.name} must not start")

    return run
