"""Fixtures of all tests: a store of local tiers, and an Airflow home that no other Airflow knows of."""

from __future__ import annotations

import importlib
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import SAWarning

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG
    from airflow.serialization.definitions.dag import SerializedDAG
    from pyspark.sql import SparkSession

pytest_plugins = [
    "tests.services.s3",  # first, as others import it
    "tests.services.archive",
    "tests.services.ceph",
    "tests.services.faulty_proxy",
    "tests.services.gcs",
    "tests.services.hdfs",
    "tests.services.mounts",
    "tests.services.oss",
    "tests.services.sql",
    "tests.services.tables",
]

_HOME = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Point Airflow at an empty home before anything imports it: it reads its configuration once, at import."""
    home = Path(tempfile.mkdtemp(prefix="airflow-dataflow-tests-"))
    config.stash[_HOME] = home
    (home / "dags").mkdir()
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home."""
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of three local tiers with a SQLite catalog."""
    tiers = [Tier(name=name, tier_class=name, url=str(tmp_path / name)) for name in ("hot", "warm", "cold")]
    return Store(tiers, Catalog(f"sqlite:///{tmp_path}/catalog.db"))


@pytest.fixture
def connected_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the store, which Airflow's connection ``dataflow_default`` opens too."""
    tiers = [{"name": tier.name, "class": tier.tier_class, "url": tier.url} for tier in store.tiers]
    extra = {"catalog_url": str(store.catalog.engine.url), "tiers": tiers}
    connection = {"conn_type": "dataflow", "extra": json.dumps(extra)}
    monkeypatch.setenv("AIRFLOW_CONN_DATAFLOW_DEFAULT", json.dumps(connection))
    return store


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Return a Spark session that all tests share; a start costs seconds."""
    from airflow_dataflow.training.java import find_java_home

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("JAVA_HOME", str(find_java_home()))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        # PySpark warns of each pandas from version 3 on.
        warnings.simplefilter("ignore", FutureWarning)
        importlib.import_module("pyspark.ml")
        session_type = importlib.import_module("pyspark.sql").SparkSession
        conf = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "ERROR",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }
        builder = session_type.builder.master("local[2]").appName("tests")
        for key, value in conf.items():
            builder = builder.config(key, value)
        # py4j tells of each connection that it closes, also at the very end, when no stream takes it any more.
        logging.getLogger("py4j").setLevel(logging.WARNING)
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Make Airflow's own database, and load what ``dag.test`` serves its tasks from."""
    from airflow.utils.db import initdb

    initdb()
    with warnings.catch_warnings():
        # Starlette tells the users of its test client, here Airflow, to move to another HTTP client.
        warnings.simplefilter("ignore")
        importlib.import_module("airflow.api_fastapi.execution_api.app")


@pytest.fixture
def serialized(airflow_db: None) -> Callable[[DAG], SerializedDAG]:
    """Return a function that stores a DAG in Airflow's database, and returns it as the scheduler sees it."""

    def store(dag: DAG) -> SerializedDAG:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.models.serialized_dag import SerializedDagModel

        DagBundlesManager().sync_bundles_to_db()
        dag.relative_fileloc = f"{dag.dag_id}.py"
        bag = DagBag(dag_folder=os.devnull, bundle_path=None)
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        return SerializedDagModel.get_dag(dag.dag_id)

    return store


@pytest.fixture
def run_dag(serialized: Callable[[DAG], SerializedDAG]) -> Callable[..., DagRun]:
    """Return a function that runs a DAG to its end in this process, and returns the run."""

    def run(dag: DAG, **options: Any) -> DagRun:
        serialized(dag)
        with warnings.catch_warnings():
            # Airflow's own mapping expects one version of a DAG where several are usual.
            warnings.filterwarnings("ignore", "Multiple rows returned with uselist=False", SAWarning)
            return dag.test(**options)

    return run


@pytest.fixture
def events(airflow_db: None) -> Callable[[DagRun], list[tuple[str, dict[str, Any]]]]:
    """Return a function that lists the asset events of a run, as URI and extra."""

    def of(run: DagRun) -> list[tuple[str, dict[str, Any]]]:
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            found = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id))
            return [(event.asset.uri, event.extra) for event in found]

    return of


@pytest.fixture(autouse=True)
def _airflow(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("airflow"):
        request.getfixturevalue("airflow_db")
