"""``dataflow transfer``: versions and files from anywhere to anywhere."""

from __future__ import annotations

from argparse import Namespace

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import database, open_store, place
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.progress import Progress


def transfer(arguments: Namespace, progress: Progress) -> Answer:
    """Copy a version to a tier, publish it to a URL, load it into a table, or copy files between two URLs."""
    from airflow_dataflow.transfer.copy import copy_path
    from airflow_dataflow.transfer.load import LoadOptions, load_version
    from airflow_dataflow.transfer.publish import publish
    from airflow_dataflow.transfer.rebalance import copy_version

    source, target = arguments.source, arguments.target
    if Reference.looks_like(source):
        store = open_store(arguments)
        if target in [tier.name for tier in store.tiers]:
            report = copy_version(store, source, target, progress=progress)
        elif (found := database(target)) is not None:
            how = LoadOptions(mode=arguments.mode, key=tuple(arguments.key))
            report = load_version(store, source, *found, options=how, progress=progress)
        else:
            url, options = place(target)
            report = publish(store, [source], url, storage_options=options, progress=progress)
    else:
        (origin, origin_options), (url, options) = place(source), place(target)
        report = copy_path(origin, url, source_options=origin_options, target_options=options, progress=progress)
    return Answer(report.to_dict())
