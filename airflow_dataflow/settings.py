"""How this deployment behaves: the section ``[dataflow]`` of Airflow's configuration, read when asked for.

Options, their defaults and what they mean are declared in :mod:`airflow_dataflow.provider_info`.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import conf


def landing_url() -> str:
    """Return the folder in which raw files arrive."""
    return str(conf.get_mandatory_value("dataflow", "landing_url"))


def publish_url() -> str:
    """Return the folder to which finished versions are published."""
    return str(conf.get_mandatory_value("dataflow", "publish_url"))
