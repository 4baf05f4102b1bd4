"""Commands that look after datasets, their catalog and their tiers."""

from __future__ import annotations

from argparse import Namespace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import open_store
from airflow_dataflow.errors import DataflowError
from airflow_dataflow.progress import Progress

if TYPE_CHECKING:
    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.storage.store import Store


def list_datasets(arguments: Namespace, _progress: Progress) -> Answer:
    """List the datasets."""
    store = open_store(arguments)
    rows = []
    for dataset in store.catalog.datasets():
        manifests = store.catalog.manifests(dataset)
        newest = manifests[0]
        rows.append(
            {
                "dataset": dataset,
                "kind": newest.kind,
                "versions": len(manifests),
                "newest": newest.version,
                "rows": newest.rows_out,
                "quarantined": newest.rows_quarantined,
                "bytes": newest.total_bytes,
                "places": _places(store, newest),
            }
        )
    return Answer(rows, summary="" if rows else "no datasets yet")


def show_version(arguments: Namespace, _progress: Progress) -> Answer:
    """Show the manifest of a version."""
    store = open_store(arguments)
    manifest = store.manifest(arguments.reference)
    short: dict[str, Any] = {
        "reference": manifest.reference,
        "kind": manifest.kind,
        "made from": manifest.parents,
        "rows in": manifest.rows_in,
        "rows out": manifest.rows_out,
        "rows quarantined": manifest.rows_quarantined,
        **{f"  {reason}": count for reason, count in manifest.quarantined_by_reason.items()},
        "source files": len(manifest.sources),
        "files": len(manifest.files),
        "bytes": manifest.total_bytes,
        "columns": manifest.columns,
        "places": _places(store, manifest),
    }
    rows = [{"name": name, "value": value} for name, value in short.items()]
    return Answer(manifest.model_dump(mode="json"), rows)


def verify_versions(arguments: Namespace, progress: Progress) -> Answer:
    """Read every copy of versions back."""
    store = open_store(arguments)
    if arguments.references:
        manifests = [store.manifest(reference) for reference in arguments.references]
    else:
        manifests = [manifest for dataset in store.catalog.datasets() for manifest in store.catalog.manifests(dataset)]
    rows = []
    for number, manifest in enumerate(manifests, start=1):
        try:
            found = ", ".join(replica.location for replica in store.verify(manifest))
            rows.append({"version": manifest.reference, "whole": True, "found": f"whole on {found}"})
        except DataflowError as error:
            rows.append({"version": manifest.reference, "whole": False, "found": str(error)})
        progress("verify", number, len(manifests), "versions")
    broken = sum(not row["whole"] for row in rows)
    return Answer(rows, summary=f"{len(rows)} versions, {broken} broken", succeeded=not broken)


def sweep_datasets(arguments: Namespace, _progress: Progress) -> Answer:
    """Remove what killed processes left."""
    removed = open_store(arguments).sweep(grace=timedelta(hours=arguments.grace_hours))
    return Answer({"removed": removed}, [{"removed": url} for url in removed], f"removed {len(removed)} folders")


def rebuild_catalog(arguments: Namespace, _progress: Progress) -> Answer:
    """Restore the catalog from storage."""
    found = open_store(arguments).rebuild()
    return Answer({"copies": found}, (), f"the catalog lists {found} copies of versions")


def upgrade_catalog(arguments: Namespace, _progress: Progress) -> Answer:
    """Bring the catalog's tables up to date."""
    revision = open_store(arguments).catalog.upgrade()
    return Answer({"schema": revision}, (), f"the catalog has schema {revision}")


def show_tiers(arguments: Namespace, _progress: Progress) -> Answer:
    """Show each tier."""
    store = open_store(arguments)
    held: dict[str | None, list[Manifest]] = {tier.name: [] for tier in store.tiers}
    for dataset in store.catalog.datasets():
        for manifest in store.catalog.manifests(dataset):
            for replica in store.catalog.replicas(dataset, manifest.version):
                held.setdefault(replica.tier, []).append(manifest)
    rows = [
        {
            "tier": tier.name,
            "class": tier.tier_class,
            "url": tier.url,
            "versions": len(held[tier.name]),
            "bytes": sum(manifest.total_bytes for manifest in held[tier.name]),
            "free_bytes": tier.directory.backend.free_bytes(tier.directory.root),
        }
        for tier in store.tiers
    ]
    return Answer(rows)


def _places(store: Store, manifest: Manifest) -> list[str]:
    return [replica.location for replica in store.catalog.replicas(manifest.dataset, manifest.version)]
