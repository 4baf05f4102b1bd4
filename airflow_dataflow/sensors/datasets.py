"""Sensors that wait for versions of datasets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import PokeReturnValue

from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors
from airflow_dataflow.sensors._waiting import WaitingSensor
from airflow_dataflow.triggers._versions import WantedVersion
from airflow_dataflow.triggers.datasets import DatasetVersionTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class DatasetVersionSensor(WaitingSensor):
    """Wait until a dataset has a version, and return the fixed reference of the newest one that counts.

    The waiting is done by Airflow's triggerer from the start to the end, so it takes no worker at all, and all waits
    for versions in one store share one query of its catalog per poll. A retry is safe: it waits again.

    :param dataset: name of a dataset, or a reference such as ``support/raw@latest~1`` or one with a version id
        (templated).
    :param newer_than: only versions after this one count: a version id or a fixed reference (templated).
    :param since: only versions that belong to this moment or a later one count: a moment with its time zone, as
        ISO 8601 where it is a template (templated), or how long before the run's own time it may be.
    :param dataflow_conn_id: Airflow connection of the store (templated).
    :param poke_interval: seconds between two looks.
    :param deferrable: whether the triggerer waits; otherwise a worker does.
    """

    template_fields: Sequence[str] = ("dataset", "newer_than", "since", "dataflow_conn_id")

    def __init__(
        self,
        *,
        dataset: str,
        newer_than: str | None = None,
        since: str | datetime | timedelta | None = None,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        poke_interval: timedelta | float = 30.0,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, deferrable=deferrable, **kwargs)
        self.dataset = dataset
        self.newer_than = newer_than
        self.since = _before_run(since) if isinstance(since, timedelta) else since
        self.dataflow_conn_id = dataflow_conn_id
        self._start_in_triggerer()

    def _trigger(self) -> DatasetVersionTrigger:
        since = self.since.isoformat() if isinstance(self.since, datetime) else self.since
        return DatasetVersionTrigger(
            dataset=self.dataset,
            newer_than=self.newer_than,
            since=since,
            dataflow_conn_id=self.dataflow_conn_id,
            poke_interval=self.poke_interval,
        )

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Ask the catalog, and tell whether the version is there."""
        with fail_at_once_on_terminal_errors():
            wanted = WantedVersion(self.dataset, self.newer_than, self.since)
            catalog = DataflowHook(self.dataflow_conn_id).store.catalog
            reference = wanted.find(catalog.references(wanted.reference.dataset))
        return PokeReturnValue(is_done=reference is not None, xcom_value=reference)

    @property
    def _waited_for(self) -> str:
        bounds = [f"newer than {self.newer_than}"] if self.newer_than else []
        bounds += [f"of {self.since} or later"] if self.since else []
        return (
            f"a version of {self.dataset}{' ' if bounds else ''}{' and '.join(bounds)}: look at the run that makes it, "
            "or raise 'timeout'"
        )


def _before_run(span: timedelta) -> str:
    """Return a template of the moment that lies so long before the run's own time, which every kind of run has."""
    return f"{{{{ (dag_run.run_after - macros.timedelta(seconds={span.total_seconds()})).isoformat() }}}}"
