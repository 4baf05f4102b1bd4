"""How this deployment behaves: the section ``[dataflow]`` of Airflow's configuration, read when asked for.

Options, their defaults and what they mean are declared in :mod:`airflow_dataflow.provider_info`.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

from airflow_dataflow.provider_info import get_provider_info

_SECTION = "dataflow"


def landing_url() -> str:
    """Return the folder in which raw files arrive."""
    return _read("landing_url")


def publish_url() -> str:
    """Return the folder to which finished versions are published."""
    return _read("publish_url")


def _read(option: str) -> str:
    # Airflow before 3.2 knows the defaults that providers declare only in some of its processes.
    home = os.environ.get("AIRFLOW_HOME") or str(Path("~/airflow").expanduser())
    default = get_provider_info()["config"][_SECTION]["options"][option]["default"]
    return str(conf.get(_SECTION, option, fallback=default.format(AIRFLOW_HOME=home)))
