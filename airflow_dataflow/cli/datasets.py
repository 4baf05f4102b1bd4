"""Commands that look after datasets, their catalog and their tiers."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.cli.store import open_store
from airflow_dataflow.errors import NotFoundError
from airflow_dataflow.progress import Progress

if TYPE_CHECKING:
    from airflow_dataflow.datasets.catalog.catalog import Holding
    from airflow_dataflow.datasets.catalog.reads import Read
    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.storage.verification import CopyCheck

_READS_SHOWN = 5


def list_datasets(arguments: Namespace, _progress: Progress) -> Answer:
    """List the datasets."""
    store = open_store(arguments)
    rows = []
    for dataset in store.catalog.datasets():
        newest = store.catalog.newest(dataset)
        if newest is None:
            continue  # it was removed meanwhile
        rows.append(
            {
                "dataset": dataset,
                "kind": newest.kind,
                "versions": len(store.catalog.references(dataset)),
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
    last = store.catalog.reads(manifest.dataset, limit=_READS_SHOWN)
    short |= {f"read {read.at:%Y-%m-%d %H:%M:%S} UTC": _read_line(read) for read in last}
    rows = [{"name": name, "value": value} for name, value in short.items()]
    return Answer(manifest.model_dump(mode="json"), rows)


def _read_line(read: Read) -> str:
    return f"{read.bytes:,} bytes of {read.version} on {read.tier}, to {read.purpose}, by {read.reader}"


def show_reads(arguments: Namespace, _progress: Progress) -> Answer:
    """Show who has read versions."""
    store = open_store(arguments)
    since = datetime.now(UTC) - timedelta(days=arguments.days)
    reads = store.catalog.reads(arguments.dataset, since=since)
    rows = [_read_row(read) for read in reads]
    return Answer([read.to_dict() for read in reads], rows, "" if rows else "nothing was read in that time")


def _read_row(read: Read) -> dict[str, Any]:
    return {
        "read at": f"{read.at:%Y-%m-%d %H:%M:%S} UTC",
        "version": read.reference,
        "tier": read.tier,
        "bytes": read.bytes,
        "files": read.files,
        "purpose": read.purpose,
        "reader": str(read.reader),
    }


def verify_versions(arguments: Namespace, progress: Progress) -> Answer:
    """Read copies of versions back."""
    from airflow_dataflow.storage.verification import check_copy
    from airflow_dataflow.transfer.repair import repair_copy

    store = open_store(arguments)
    copies = _copies(store, arguments.references, [store.tier(name).name for name in arguments.tier])
    total, done = sum(copy.bytes for copy in copies), 0

    def advance(size: int) -> None:
        nonlocal done
        done += size
        progress("verify", done, total, "bytes")

    rows = []
    for copy in copies:
        try:
            manifest = store.manifest(copy.reference)
        except NotFoundError:
            continue  # it was removed meanwhile
        check = check_copy(store, manifest, store.tier(copy.tier), done=advance)
        mended = check.state == "damaged" and arguments.repair
        if mended:
            check = repair_copy(store, check)
        rows.append(_check_row(store, check, mended=mended and not check.is_bad))
    bad = sum(row["state"] in ("damaged", "unknown") for row in rows)
    table = [{name: value for name, value in row.items() if name != "files"} for row in rows]
    return Answer(rows, table, f"{len(rows)} copies, {bad} to look after", succeeded=not bad)


def _copies(store: Store, references: Sequence[str], tiers: Sequence[str]) -> list[Holding]:
    """Return the copies of versions that references name; a name alone stands for all versions of the dataset."""
    known = {tier.name for tier in store.tiers} if not tiers else set(tiers)
    wanted: list[str | None] = [*references] or [None]
    found = []
    for text in wanted:
        if text is None or "@" not in text:
            copies = store.catalog.holdings(text)
            if text is not None and not copies:
                store.manifest(text)  # says which datasets there are
        else:
            manifest = store.manifest(text)
            copies = [copy for copy in store.catalog.holdings(manifest.dataset) if copy.version == manifest.version]
        found += [copy for copy in copies if copy.tier in known]
    return found


def _check_row(store: Store, check: CopyCheck, *, mended: bool) -> dict[str, Any]:
    return {
        "version": check.version,
        "tier": check.tier,
        "state": "mended" if mended else check.state,
        "found": "; ".join(differs for _, differs in check.damages) or check.trouble,
        "remedy": _remedy(store, check),
        "files": [path for path, _ in check.damages],
    }


def _remedy(store: Store, check: CopyCheck) -> str:
    if check.state == "unknown":
        return f"see that tier {check.tier} can be reached, and verify again"
    if check.state != "damaged":
        return ""
    dataset, _, version = check.version.partition("@")
    if len([copy for copy in store.catalog.replicas(dataset, version) if copy.tier is not None]) > 1:
        return f"dataflow datasets verify {check.version} --repair"
    return "no other copy to mend it from: restore the file from a backup, or make the version again"


def sweep_datasets(arguments: Namespace, _progress: Progress) -> Answer:
    """Remove what killed processes left, and forget old reads."""
    from airflow_dataflow.cli.transfer import open_place
    from airflow_dataflow.transfer.abandoned import sweep_journals, sweep_transfers
    from airflow_dataflow.transfer.file_journal import journal_folder

    store, grace = open_store(arguments), timedelta(hours=arguments.grace_hours)
    removed = sweep_transfers(store, open_place, grace=grace) + sweep_journals(
        journal_folder(), open_place, grace=grace
    )
    removed += store.sweep(grace=grace)
    forgotten = store.catalog.forget_reads(timedelta(days=arguments.keep_reads_days))
    return Answer(
        {"removed": removed, "reads_forgotten": forgotten},
        [{"removed": url} for url in removed],
        f"removed {len(removed)} unfinished folders and files, forgot {forgotten} old reads",
    )


def rebuild_catalog(arguments: Namespace, progress: Progress) -> Answer:
    """Restore the catalog from storage."""
    from airflow_dataflow.storage.rebuild import rebuild

    report = rebuild(open_store(arguments), progress=progress)
    summary = f"the catalog lists {report.copies} copies of versions"
    if report.broken:
        summary += (
            f"; {len(report.broken)} manifests cannot be read and were skipped: 'dataflow datasets verify --repair' "
            "writes those anew that the catalog still knows"
        )
    rows = [{"skipped": message} for message in report.broken]
    return Answer(report.to_dict(), rows, summary, succeeded=not report.broken)


def upgrade_catalog(arguments: Namespace, _progress: Progress) -> Answer:
    """Bring the catalog's tables up to date."""
    revision = open_store(arguments).catalog.upgrade()
    return Answer({"schema": revision}, (), f"the catalog has schema {revision}")


def show_tiers(arguments: Namespace, _progress: Progress) -> Answer:
    """Show each tier."""
    store = open_store(arguments)
    held: dict[str, list[Holding]] = {tier.name: [] for tier in store.tiers}
    for copy in store.catalog.holdings():
        held.setdefault(copy.tier, []).append(copy)
    rows = [
        {
            "tier": tier.name,
            "class": tier.tier_class,
            "url": tier.url,
            "versions": len(held[tier.name]),
            "bytes": sum(copy.bytes for copy in held[tier.name]),
            "free_bytes": tier.directory.backend.free_bytes(tier.directory.root),
        }
        for tier in store.tiers
    ]
    return Answer(rows)


def _places(store: Store, manifest: Manifest) -> list[str]:
    return [replica.location for replica in store.catalog.replicas(manifest.dataset, manifest.version)]
