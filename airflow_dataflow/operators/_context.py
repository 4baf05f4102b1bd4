"""What operators take from Airflow's context, and what they leave there."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AssetAlias, get_hook_lineage_collector

from airflow_dataflow.progress import Rate, log_progress

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, BaseHook, BaseOperator, Context

    from airflow_dataflow.datasets.catalog.reads import Reader
    from airflow_dataflow.progress import Progress

log = logging.getLogger(__name__)


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


def task_reader(context: Context) -> Reader:
    """Return the task as the catalog names it when it reads a version."""
    from airflow_dataflow.datasets.catalog.reads import Reader

    task = context["ti"]
    return Reader(
        dag_id=task.dag_id,
        run_id=task.run_id,
        task_id=task.task_id,
        map_index=task.map_index,
        try_number=task.try_number,
    )


def task_progress(context: Context, every_seconds: float = 5.0) -> Progress:
    """Return a progress that a person can follow while the task runs.

    It writes log lines, and from Airflow 3.3 on also the key ``progress`` of the task's state, which the web server
    and the API show without opening the log.

    :param context: Airflow's context of the task.
    :param every_seconds: least time between two reports.
    """
    state = context.get("task_state_store")
    to_log = log_progress(log, every_seconds)
    if state is None:
        return to_log
    last = -math.inf
    rates: dict[str, Rate] = {}

    def report(what: str, done: int, total: int, unit: str) -> None:
        nonlocal last
        to_log(what, done, total, unit)
        now = time.monotonic()
        if now - last < every_seconds:
            return
        last = now
        rate = rates.setdefault(what, Rate())
        rate.add(done, now)
        left = rate.left_seconds(total - done)
        pace = {} if left is None else {"per_second": round(rate.per_second), "left_seconds": round(left)}
        try:
            state.set("progress", {"what": what, "done": done, "total": total, "unit": unit, **pace})
        except Exception as error:  # noqa: BLE001 - progress is a courtesy, the work must not end for it
            log.warning("progress could not be stored: %s", error)

    return report


def announce(
    task: BaseOperator, context: Context, hook: BaseHook, asset: Asset, *, extra: dict[str, Any], inputs: Iterable[str]
) -> None:
    """Tell Airflow, and through it OpenLineage, what a task has made.

    :param task: the task; each of its outlets gets an event.
    :param context: Airflow's context of the task.
    :param hook: hook that reached the data.
    :param asset: what was made; an outlet that is an alias stands for it.
    :param extra: what the event tells.
    :param inputs: URIs of what it was made from.
    """
    for outlet in task.outlets:
        event = context["outlet_events"][outlet]
        if isinstance(outlet, AssetAlias):
            event.add(asset, extra=extra)
        else:
            event.extra = extra
    lineage = get_hook_lineage_collector()
    for uri in inputs:
        lineage.add_input_asset(hook, uri=uri)
    lineage.add_output_asset(hook, uri=asset.uri)
