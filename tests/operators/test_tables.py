"""Operators between datasets and tables of real databases, through Airflow's connections."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG

from airflow_dataflow.operators.storage import IngestDatasetOperator
from airflow_dataflow.operators.transfer import TransferOperator

pytestmark = pytest.mark.airflow
NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


@pytest.fixture
def shop(tables, monkeypatch):
    """Return a database with a table, which Airflow's connection ``shop`` opens."""
    tables.run(
        "CREATE TABLE orders (id int PRIMARY KEY, amount decimal(9,2))",
        f"INSERT INTO orders SELECT i, i * 1.5 FROM {tables.series(5)}",
    )
    url = sa.make_url(tables.url)
    kind = "postgres" if tables.is_postgres else "mysql"
    connection = {"conn_type": kind, "login": url.username, "password": url.password, "host": url.host}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection | {"port": url.port, "schema": url.database}))
    return tables


@pytest.fixture
def run(run_dag, shop):
    """Return a function that runs a DAG with an ingest and, behind it, a load into another table."""
    scheme = "postgresql" if shop.is_postgres else "mysql"

    def start(*, run_after=NIGHT, path="orders", query=None, options=None, load=None):
        with DAG("shop", schedule=None, template_searchpath=[]) as dag:
            ingest = IngestDatasetOperator(
                task_id="ingest",
                source=f"{scheme}://shop@/{path}",
                target="shop/orders",
                query=query,
                options=options,
                retries=9,
                retry_delay=timedelta(0),
            )
            ingest >> TransferOperator(
                task_id="load", source="{{ ti.xcom_pull('ingest') }}", target=f"{scheme}://shop@/copied", options=load
            )
        return run_dag(dag, run_after=run_after, logical_date=None)

    return start


def test_a_table_becomes_a_version_and_a_version_a_table(connected_store, shop, run, returned, events, lineage):
    done = run(load={"key": ["id"]})
    assert done.state == "success"
    manifest = connected_store.manifest("shop/orders@latest")
    assert returned(done, "ingest") == manifest.reference
    assert manifest.rows_in == 5
    assert shop.difference("orders", "copied") == []
    url = sa.make_url(shop.url)
    prefix = f"postgresql://127.0.0.1:{url.port}/{url.database}/public" if shop.is_postgres else (
        f"mysql://127.0.0.1:{url.port}/{url.database}")  # fmt: skip
    assert f"{prefix}/orders" in lineage()[0]
    assert [uri for uri, _ in events(done)] == ["dataflow://dataflow_default/shop/orders", f"{prefix}/copied"]
    secrets = [str(extra) for _, extra in events(done)] + [manifest.to_bytes().decode()]
    assert not any(url.password in text for text in secrets)


def test_a_night_reads_what_is_above_the_watermark_of_a_templated_option(connected_store, shop, run):
    options = {"watermark": "{{ 'i' }}d"}
    run(options=options, load={"mode": "append", "key": ["id"]})
    shop.run("INSERT INTO orders VALUES (6, 1)")
    run(run_after=NIGHT + timedelta(days=1), options=options, load={"mode": "upsert", "key": ["id"]})
    manifest = connected_store.manifest("shop/orders@latest")
    assert [source.rows_in for source in manifest.sources] == [5, 1]
    assert shop.difference("orders", "copied") == []


def test_a_templated_query_makes_a_version(connected_store, run):
    assert run(path="", query="SELECT id FROM orders WHERE id > {{ 1 + 2 }}").state == "success"
    assert connected_store.manifest("shop/orders@latest").rows_out == 2


@pytest.mark.parametrize(
    ("options", "attempts"),
    [({"path": "nowhere"}, 1), ({"options": {"watermrk": "id"}}, 1), ({"query": "SELECT 1 AS a"}, 1)],
)
def test_what_a_retry_cannot_change_fails_at_once(connected_store, run, options, attempts):
    done = run(**options)
    assert done.state == "failed"
    assert done.get_task_instance("ingest").try_number == attempts
