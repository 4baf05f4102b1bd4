"""``dataflow replicate``: one version to many sites, along a tree."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import open_store, place
from airflow_dataflow.progress import Progress

if TYPE_CHECKING:
    from airflow_dataflow.storage.directory import Directory
    from airflow_dataflow.transfer.topology import Site


def replicate(arguments: Namespace, progress: Progress) -> Answer:
    """Plan the tree, print it, and unless that is all, send the version."""
    from airflow_dataflow.transfer.replicate import ReplicationOptions, plan_for
    from airflow_dataflow.transfer.replicate import replicate as replicate_version
    from airflow_dataflow.transfer.topology import load_topology

    store, topology = open_store(arguments), load_topology(arguments.topology)
    options = ReplicationOptions(
        source=arguments.source,
        targets=tuple(arguments.to),
        objective=arguments.objective,
        relays=tuple(arguments.relay),
        at=tuple(arguments.at),
        patience_seconds=arguments.patience_seconds,
    )
    if arguments.dry_run:
        manifest, plan = plan_for(store, arguments.reference, topology, options)
        rows = [{"site": site, "receives from": parent} for site, parent in plan.parents.items()]
        data = {"reference": manifest.reference, "plan": plan.to_dict()}
        return Answer(data, rows=rows, summary="\n".join([plan.method, *plan.arithmetic]))
    report = replicate_version(store, arguments.reference, topology, options=options, open_url=_open, progress=progress)
    rows = [site.to_dict() for site in report.sites]
    return Answer(report.to_dict(), rows=rows, summary="\n".join(report.plan.arithmetic), succeeded=not report.errors)


def _open(site: Site) -> Directory:
    from airflow_dataflow.storage.directory import Directory

    url, options = place(str(site.url), site.conn_id)
    return Directory.from_url(url, options | site.storage_options)
