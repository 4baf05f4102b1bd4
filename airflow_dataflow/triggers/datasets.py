"""Waiting for versions of datasets, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_dataflow.errors import is_terminal
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.triggers._versions import WantedVersion, wait_for_version

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)


class DatasetVersionTrigger(BaseTrigger):
    """Wait until a dataset has a version; then end the task without starting a worker.

    All waits in one triggerer for versions in one store share each query of its catalog.

    :param dataset: name of a dataset, or a reference.
    :param newer_than: version after which it has to come.
    :param since: moment that it may belong to at the earliest.
    :param dataflow_conn_id: Airflow connection of the store.
    :param poke_interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        dataset: str,
        newer_than: str | None = None,
        since: str | datetime | None = None,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        poke_interval: float = 30.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset = dataset
        self.newer_than = newer_than
        self.since = since
        self.dataflow_conn_id = dataflow_conn_id
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on waiting."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "dataset": self.dataset,
            "newer_than": self.newer_than,
            "since": self.since,
            "dataflow_conn_id": self.dataflow_conn_id,
            "poke_interval": self.poke_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the version; a catalog that does not answer only delays."""
        while True:
            try:
                wanted = WantedVersion(self.dataset, self.newer_than, self.since)
                reference = await wait_for_version(wanted, self.dataflow_conn_id, poke_interval=self.poke_interval)
            except Exception as error:  # noqa: BLE001 - every error is judged by its kind
                if is_terminal(error):
                    yield TriggerEvent({"error": f"{error} ({type(error).__name__})"})  # type: ignore[no-untyped-call]
                    return
                log.warning("%s cannot be waited for, trying again: %s", self.dataset, error)
                await asyncio.sleep(self.poke_interval)
            else:
                log.info("%s is there", reference)
                yield TaskSuccessEvent(xcoms={"return_value": reference})
                return
