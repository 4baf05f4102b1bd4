"""The plugin, and the reports that it serves in Airflow's web server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from airflow_dataflow.datasets.manifest import Rows

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def server(airflow_db):
    """Return Airflow's own web app, with every plugin that is installed."""
    from airflow.api_fastapi.app import create_app

    return create_app(apps="core")


@pytest.fixture
def get(server):
    """Return a function that asks the web app for a page, as a user with a role or as nobody."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    async def ask(path, headers):
        transport = httpx.ASGITransport(server)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            return await client.get(path, headers=headers)

    def get(path, role=None):
        headers = {}
        if role:
            token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="someone", role=role))
            headers = {"Authorization": f"Bearer {token}"}
        return asyncio.run(ask(path, headers))

    return get


@pytest.fixture
def report(connected_store):
    """Return the path of a report."""
    with connected_store.draft("support/clean", at=datetime(2026, 11, 23, tzinfo=UTC), fingerprint="4f2a9c") as draft:
        with draft.create("report.html") as file:
            file.write(b"<h1>10 rows</h1>")
        manifest = draft.commit(Rows())
    return f"/dataflow/reports/dataflow_default/support/clean/{manifest.version}"


def test_the_report_of_a_version_is_a_page_that_can_run_and_load_nothing(get, report):
    answer = get(report, role="viewer")
    assert (answer.status_code, answer.text) == (200, "<h1>10 rows</h1>")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox"} <= set(policy)
    assert not any(part.startswith("script-src") for part in policy)


def test_a_report_is_shown_to_nobody_who_has_not_logged_in(get, report):
    answer = get(report)
    assert answer.status_code == 401
    assert "rows" not in answer.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("support/clean", "support/clear", "did you mean 'support/clean'"),
        ("/dataflow_default/", "/aws_default/", "connection 'aws_default'"),
        ("/support/clean/", "/..%2F..%2Fetc/", "invalid dataset name"),
    ],
)
def test_a_report_that_is_not_there_is_explained(get, report, old, new, message):
    answer = get(report.replace(old, new), role="viewer")
    assert answer.status_code == 404
    assert message in answer.json()["detail"]


def test_only_the_web_server_pays_for_the_web_app():
    from airflow_dataflow.plugin import DataflowPlugin

    plugin = DataflowPlugin()
    assert "fastapi_apps" not in vars(plugin)
    assert plugin.fastapi_apps is plugin.fastapi_apps
