"""Buttons of tasks in Airflow's web UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

REPORTS_PATH = "dataflow/reports"
"""Where the web server serves reports, below its base URL; see :mod:`airflow_dataflow.web.reports`."""


class ReportLink(BaseOperatorLink):
    """Opens the report of the version that the task has made."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the report; empty when the task has made no version."""
        reference = XCom.get_value(ti_key=ti_key, key="return_value")
        if not reference:
            return ""
        base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
        dataset, _, version = reference.partition("@")
        return f"{base}/{REPORTS_PATH}/{quote(operator.dataflow_conn_id, safe='')}/{dataset}/{version}"
