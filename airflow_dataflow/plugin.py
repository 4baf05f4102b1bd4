"""What this provider adds to Airflow's web server."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_dataflow.operators._links import REPORTS_PATH


class DataflowPlugin(AirflowPlugin):
    """Airflow's plugin of this provider: the pages behind the button "Report" of tasks."""

    name = "dataflow"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # Airflow reads it as an attribute
        """The web apps; made when the web server asks, because every process of Airflow loads this plugin."""
        from airflow_dataflow.web.reports import create_app

        return [{"app": create_app(), "url_prefix": f"/{REPORTS_PATH}", "name": "Dataflow reports"}]
