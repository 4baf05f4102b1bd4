"""Operators that bring data into the store and keep it in order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.operators._context import task_progress
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class RebalanceTiersOperator(BaseOperator):
    """Move all but the newest versions of datasets to the coldest tier.

    A move copies, verifies, changes the catalog and only then deletes. A retry is safe: it finishes what a killed
    attempt began.

    :param datasets: names of the datasets; all of the store when ``None`` (templated).
    :param hot_versions: how many versions of each dataset stay where they are.
    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    template_fields: Sequence[str] = ("datasets", "dataflow_conn_id")

    def __init__(
        self,
        *,
        datasets: Sequence[str] | None = None,
        hot_versions: int = 1,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.hot_versions = hot_versions
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> list[str]:
        """Move the versions and return the references of those that were moved."""
        from airflow_dataflow.transfer.rebalance import rebalance

        with fail_at_once_on_terminal_errors():
            moves = rebalance(
                DataflowHook(self.dataflow_conn_id).store,
                self.datasets,
                hot_versions=self.hot_versions,
                progress=task_progress(context),
            )
        self.log.info("moved %d versions, %s bytes", len(moves), f"{sum(move.bytes for move in moves):,}")
        return [move.version for move in moves]


class SweepDatasetsOperator(BaseOperator):
    """Remove what killed tasks have left behind: folders of versions that were never finished.

    A retry is safe: what is gone is gone.

    :param grace: how long an unfinished version may go without a change before it counts as abandoned; longer than the
        longest pause of a task that is still running.
    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    template_fields: Sequence[str] = ("dataflow_conn_id",)

    def __init__(
        self,
        *,
        grace: timedelta = timedelta(days=1),
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grace = grace
        self.dataflow_conn_id = dataflow_conn_id

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002 - Airflow's signature
        """Remove the folders and return their URLs."""
        with fail_at_once_on_terminal_errors():
            removed = DataflowHook(self.dataflow_conn_id).store.sweep(grace=self.grace)
        self.log.info("removed %d folders of unfinished versions", len(removed))
        return removed
