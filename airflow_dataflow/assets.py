"""Datasets as Airflow assets: ``dataflow://<connection>/<dataset>``.

A DAG that reads a dataset is scheduled on its asset::

    with DAG("report", schedule=[dataset_asset("support/clean")]):
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.providers.common.compat.sdk import Asset

from airflow_dataflow.datasets.name import Reference, check_dataset_name

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    from airflow_dataflow.datasets.manifest import Manifest

SCHEME = "dataflow"
VERSIONS_ALIAS = "dataflow"
"""Alias through which operators announce versions of datasets whose names are known only when the task runs."""


def dataset_asset(dataset: str, dataflow_conn_id: str = "dataflow_default") -> Asset:
    """Return the asset of a dataset, for the ``schedule`` of a DAG or the ``outlets`` of a task.

    :param dataset: name, e.g. ``support/clean``.
    :param dataflow_conn_id: Airflow connection of the store that holds it.
    """
    return Asset(uri=f"{SCHEME}://{dataflow_conn_id}/{check_dataset_name(dataset)}")


def event_extra(manifest: Manifest) -> dict[str, Any]:
    """Return what the event of a new version tells: small, and without a row of data."""
    return {
        "reference": manifest.reference,
        "dataset": manifest.dataset,
        "version": manifest.version,
        "kind": manifest.kind,
        "rows_in": manifest.rows_in,
        "rows_out": manifest.rows_out,
        "rows_quarantined": manifest.rows_quarantined,
        "quarantined_by_reason": manifest.quarantined_by_reason,
        "files": len(manifest.files),
        "bytes": manifest.total_bytes,
        "metrics": manifest.statistics.get("metrics", {}),
    }


def parent_uris(manifest: Manifest, dataflow_conn_id: str) -> list[str]:
    """Return the URIs of the datasets that a version was made from."""
    return [dataset_asset(Reference.parse(parent).dataset, dataflow_conn_id).uri for parent in manifest.parents]


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check the URI of a dataset's asset; Airflow calls it for the scheme ``dataflow``.

    :raises ValueError: when it is not ``dataflow://<connection>/<dataset>``.
    """
    if not uri.netloc:
        raise ValueError(f"URI format {SCHEME}:// must name a connection, e.g. {SCHEME}://dataflow_default/support/raw")
    check_dataset_name(uri.path.strip("/"))
    return uri


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:  # noqa: ARG001 - Airflow's
    """Return a dataset's asset in OpenLineage's terms: the store is the namespace."""
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    parts = urlsplit(asset.uri)
    return OpenLineageDataset(namespace=f"{SCHEME}://{parts.netloc}", name=parts.path.strip("/"))


def sanitize_hdfs_uri(uri: SplitResult) -> SplitResult:
    """Check the URI of an asset on HDFS; Airflow calls it for the schemes ``hdfs`` and ``webhdfs``.

    :raises ValueError: when it names no NameNode or nameservice, or no path.
    """
    if not uri.netloc or not uri.path.strip("/"):
        raise ValueError(f"URI format {uri.scheme}:// must name a NameNode or nameservice and a path")
    return uri


def convert_hdfs_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:  # noqa: ARG001 - Airflow's
    """Return an asset on HDFS in OpenLineage's terms, after its naming specification."""
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    parts = urlsplit(asset.uri)
    return OpenLineageDataset(namespace=f"hdfs://{parts.netloc}", name=parts.path)
