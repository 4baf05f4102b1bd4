"""What operators take from Airflow's context, and what they leave there."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def run_time(context: Context) -> datetime:
    """Return the moment that a run belongs to: the same in every attempt, and there for every kind of run.

    Runs that a person, an asset or the API starts have no logical date, so it is the time after which the run was
    allowed to start.
    """
    run = context["dag_run"]
    moment = run.run_after or run.logical_date
    if moment is None:
        raise ValueError(f"run {run.run_id!r} has neither run_after nor a logical date")
    return moment
