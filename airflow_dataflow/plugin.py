"""What this provider adds to Airflow's web server."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowPlugin


class DataflowPlugin(AirflowPlugin):
    """Airflow's plugin of this provider."""

    name = "dataflow"
