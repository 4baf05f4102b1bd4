"""The operator that all operators have in common which make one version of a dataset."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AssetAlias, BaseOperator

from airflow_dataflow.assets import VERSIONS_ALIAS, dataset_asset, event_extra, parent_uris
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.operators._context import announce, run_time, task_progress, task_reader
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.store import Store


class DatasetOperator(BaseOperator):
    """Make a version of a dataset, and tell Airflow of it.

    The version's id follows from the run's own time and from what goes into the version. A retry therefore finds the
    version that an earlier attempt finished, and makes it otherwise.

    Each version becomes an asset event of ``dataflow://<connection>/<dataset>`` with its row counts. Without
    ``outlets`` the event comes through the asset alias ``dataflow``, because a templated dataset has no name yet when
    the DAG is parsed.

    :param dataflow_conn_id: Airflow connection of the store (templated).
    """

    def __init__(self, *, dataflow_conn_id: str = DataflowHook.default_conn_name, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [AssetAlias(VERSIONS_ALIAS)])
        super().__init__(**kwargs)
        self.dataflow_conn_id = dataflow_conn_id

    @abstractmethod
    def make_version(self, store: Store, *, at: datetime, progress: Progress) -> Manifest:
        """Make the version, or return the one that the same work has made before.

        :param store: the store of ``dataflow_conn_id``.
        :param at: moment that the version belongs to.
        :param progress: where to report to.
        """

    def lineage_inputs(self, manifest: Manifest) -> list[str]:
        """Return the URIs of what the version was made from."""
        return parent_uris(manifest, self.dataflow_conn_id)

    def execute(self, context: Context) -> str:
        """Make the version and return its fixed reference."""
        hook = DataflowHook(self.dataflow_conn_id)
        with fail_at_once_on_terminal_errors(), hook.store.read_by(task_reader(context)) as store:
            manifest = self.make_version(store, at=run_time(context), progress=task_progress(context))
        self._log_rows(manifest)
        asset = dataset_asset(manifest.dataset, self.dataflow_conn_id)
        announce(self, context, hook, asset, extra=event_extra(manifest), inputs=self.lineage_inputs(manifest))
        return manifest.reference

    def _log_rows(self, manifest: Manifest) -> None:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(manifest.quarantined_by_reason.items()))
        self.log.info(
            "%s: %s rows of %s, %s quarantined%s",
            manifest.reference,
            f"{manifest.rows_out:,}",
            f"{manifest.rows_in:,}",
            f"{manifest.rows_quarantined:,}",
            f" ({reasons})" if reasons else "",
        )
