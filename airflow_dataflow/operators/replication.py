"""The operator that sends versions to many sites; the work itself is :mod:`airflow_dataflow.transfer.replicate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import Asset, AssetAlias, BaseOperator

from airflow_dataflow.assets import VERSIONS_ALIAS, dataset_asset
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.hooks.storage import directory, uri
from airflow_dataflow.operators._context import announce, task_progress, task_reader
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors
from airflow_dataflow.operators._journal import task_control

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.storage.directory import Directory
    from airflow_dataflow.transfer.limits import Control
    from airflow_dataflow.transfer.replicate import ReplicationReport
    from airflow_dataflow.transfer.topology import Site, Topology


class ReplicateDatasetOperator(BaseOperator):
    """Send one version of a dataset to several sites, which pass it on to each other while it arrives.

    Every site shows the version when all of its files were read back, and counts as a copy of it in the catalog from
    then on. A retry is safe: it sends what a site lacks. A site that fails does not stop the others; the task fails in
    the end and names it.

    One task does the work of all sites, or mapped tasks one each, on queues whose workers are at the sites::

        options = {"reference": gate.output, "topology": "topology.yaml"}
        ReplicateDatasetOperator.partial(task_id="to", **options).expand(at=["fra", "ams"])

    Mapped tasks need a fixed reference, and as many slots as there are sites between the source and the farthest one;
    those that wait for a site which does not begin go on with the one above it after ``patience_seconds``.

    :param reference: the version, e.g. ``support/clean@latest`` (templated).
    :param topology: path of a topology file, or the topology itself as a mapping or text, see
        :func:`~airflow_dataflow.transfer.topology.load_topology` (templated).
    :param source: site that has the version; the first one whose tier holds it when absent (templated).
    :param targets: sites that want it; all others when empty (templated).
    :param at: site, or sites, whose part of the work this task does; all when empty (templated).
    :param objective: ``time`` for the tree that brings it to all sites first, ``cost`` for the least sum of prices
        (templated).
    :param relays: sites that may pass it on, and then keep a copy, although they are no targets (templated).
    :param patience_seconds: how long a site may send nothing before those that wait for it go on with the one above it.
    :param limits_variable: name of an Airflow Variable that is read every few seconds while the task runs; its JSON,
        e.g. ``{"bytes_per_second": "20MB"}``, limits what the task receives for all of its sites (templated).
    :param dataflow_conn_id: Airflow connection of the store that holds the version (templated).
    """

    template_fields: Sequence[str] = (
        "reference",
        "topology",
        "source",
        "targets",
        "at",
        "objective",
        "relays",
        "limits_variable",
        "dataflow_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"topology": "json"}

    def __init__(
        self,
        *,
        reference: str,
        topology: str | Mapping[str, Any],
        source: str | None = None,
        targets: Sequence[str] = (),
        at: str | Sequence[str] = (),
        objective: str = "time",
        relays: Sequence[str] = (),
        patience_seconds: float = 300.0,
        limits_variable: str | None = None,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", [AssetAlias(VERSIONS_ALIAS)])
        super().__init__(**kwargs)
        self.reference = reference
        self.topology = topology
        self.source = source
        self.targets = targets
        self.at = at
        self.objective = objective
        self.relays = relays
        self.patience_seconds = patience_seconds
        self.limits_variable = limits_variable
        self.dataflow_conn_id = dataflow_conn_id
        self._control: Control | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Send the version, and return the report."""
        from airflow_dataflow.registry import make
        from airflow_dataflow.transfer.options import TransferOptions
        from airflow_dataflow.transfer.replicate import ReplicationOptions, replicate
        from airflow_dataflow.transfer.topology import load_topology

        hook = DataflowHook(self.dataflow_conn_id)
        self._control = task_control(context, TransferOptions(), self.limits_variable)
        with fail_at_once_on_terminal_errors(), hook.store.read_by(task_reader(context)) as store:
            topology = load_topology(self.topology)
            report = replicate(
                store,
                self.reference,
                topology,
                options=make(ReplicationOptions, "replication", self._options()),
                open_url=_open,
                control=self._control,
                progress=task_progress(context),
            )
            self._tell(context, hook, topology, report)
            report.check()
        return report.to_dict()

    def on_kill(self) -> None:
        """Stop within seconds; a retry goes on where it was."""
        if self._control is not None:
            self._control.stop()

    def _options(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "targets": tuple(self.targets),
            "objective": self.objective,
            "relays": tuple(self.relays),
            "at": (self.at,) if isinstance(self.at, str) and self.at else tuple(self.at),
            "patience_seconds": self.patience_seconds,
        }

    def _tell(self, context: Context, hook: DataflowHook, topology: Topology, report: ReplicationReport) -> None:
        """Announce each copy; what a site has got, it has got, whatever became of the others."""
        inputs = [dataset_asset(report.reference.partition("@")[0], self.dataflow_conn_id).uri]
        for line in report.plan.arithmetic:
            self.log.info("%s", line)
        for done in report.sites:
            self.log.info("%s: %s %s from %s: %s", report.reference, done.site, done.state, done.source, done.report)
            if done.state == "whole":
                site = topology.site(done.site)
                url = hook.store.tier(site.tier).url if site.tier else str(site.url)
                extra = {"reference": report.reference, **done.to_dict()}
                announce(self, context, hook, Asset(uri=uri(url, site.conn_id)), extra=extra, inputs=inputs)


def _open(site: Site) -> Directory:
    from airflow_dataflow.storage.directory import Directory

    if site.storage_options:
        return Directory.from_url(str(site.url), site.storage_options)
    return directory(str(site.url), site.conn_id)
