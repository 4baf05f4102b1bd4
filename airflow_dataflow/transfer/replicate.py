"""One version to many sites, which pass it on to each other while it arrives.

No site needs an agent. Each edge of the tree is run by a process that reads from the store of the site above and writes
to its own: one process for all sites, or one for each, started at the site where it is near its store. Files of several
parts are passed on as parts (:mod:`airflow_dataflow.storage.staging`), small ones as they are. A site shows the version
when it has read back every file, the manifest last.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from airflow_dataflow.datasets.catalog.catalog import Replica
from airflow_dataflow.datasets.catalog.links import LinkRate, best_rates, link_rates_of, record_link_rate
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import InvalidInputError, NotFoundError, TerminalError, TransferError, is_terminal
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.scheduling.replication import Objective, ReplicationPlan, plan_replication
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.staging import Staging, remove_abandoned_parts
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.identity import transfer_id, without_password
from airflow_dataflow.transfer.limits import Control, StoppedError
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.publish import published_copy
from airflow_dataflow.transfer.receiving import Receiver
from airflow_dataflow.transfer.report import Tally, TransferReport
from airflow_dataflow.transfer.retry import retrying
from airflow_dataflow.transfer.sending import Sender, Senders, parts_of
from airflow_dataflow.transfer.topology import Open, Topology, open_site

log = logging.getLogger(__name__)

_BUFFER_BYTES = 64 << 20
"""Bytes of pieces in memory, over all sites of a process."""
_MOST_AT_ONCE = 8
"""Pieces in flight for one site, and sites in one process, at a time."""
_LEAST_AT_ONCE = 2
"""Pieces in flight for one site at least: one that comes, and one that is written."""
_PIECES_FOR_EACH = 16
"""Pieces of a version for each one that is in flight at a time."""
_LEAST_MEASURED_BYTES = 1 << 20
_GRACE = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class ReplicationOptions:
    """Where a version goes, and by which tree."""

    source: str | None = None
    """Site that has the version; the first one whose tier holds it when ``None``."""
    targets: tuple[str, ...] = ()
    """Sites that want it; all others when empty."""
    objective: Objective = "time"
    """``time`` for the tree that brings it to all sites first, ``cost`` for the least sum of prices."""
    relays: tuple[str, ...] = ()
    """Sites that may pass it on, and then keep a copy, although they are no targets."""
    at: tuple[str, ...] = ()
    """Sites whose part of the work this process does; all when empty. The others have processes of their own."""
    patience_seconds: float = 300.0
    """How long a site may send nothing before those that wait for it go on with the one above it."""

    def __post_init__(self) -> None:
        if self.patience_seconds <= 0:
            raise InvalidInputError(f"patience_seconds must be more than 0, got {self.patience_seconds:g}")


@dataclass(frozen=True, kw_only=True)
class SiteReport:
    """What became of one site."""

    site: str
    """Its name."""
    source: str
    """Site that it received from in the end."""
    url: str
    """The version's folder there."""
    state: Literal["whole", "failed"]
    """Whether it has the version now."""
    report: TransferReport
    """What was sent to it."""
    error: str = ""
    """Why it does not have it."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        described = {"site": self.site, "source": self.source, "url": self.url, "state": self.state}
        return described | self.report.to_dict() | {"error": self.error}


@dataclass(frozen=True, kw_only=True)
class ReplicationReport:
    """What a replication did, at the sites of this process."""

    reference: str
    """Fixed reference of the version."""
    plan: ReplicationPlan
    """The tree."""
    sites: tuple[SiteReport, ...]
    """What became of each site, in the order of the tree."""
    errors: Mapping[str, BaseException] = field(default_factory=dict, repr=False)
    """Errors by site."""

    @property
    def total(self) -> TransferReport:
        """What was sent to all sites."""
        return sum((site.report for site in self.sites), TransferReport())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        total = self.total.to_dict() | {"seconds": max((site.report.seconds for site in self.sites), default=0.0)}
        plan = self.plan.to_dict()
        return {"reference": self.reference, **total, "plan": plan, "sites": [site.to_dict() for site in self.sites]}

    def check(self) -> None:
        """Raise an error that names the sites which do not have the version; a retry sends them what they lack.

        :raises TerminalError: when a retry cannot help any of them.
        :raises TransferError: when it may.
        """
        if not self.errors:
            return
        said = "; ".join(f"{site}: {error}" for site, error in self.errors.items())
        message = f"{len(self.errors)} of {len(self.sites)} sites do not have {self.reference}: {said}"
        if all(is_terminal(error) for error in self.errors.values()):
            raise TerminalError(message)
        raise TransferError(message)


def plan_for(
    store: Store, reference: str, topology: Topology, options: ReplicationOptions
) -> tuple[Manifest, ReplicationPlan]:
    """Return the version that a reference names, and the tree along which it goes.

    Where no rate of a link is declared, the best one that was measured counts. Processes of single sites all plan for
    themselves, so for them only what was measured before the version was made counts, which is the same for each.

    :raises InvalidInputError: when a site is unknown or cannot be reached.
    :raises NotFoundError: when no site holds the version.
    """
    manifest = store.manifest(reference)
    source = options.source or _holder(store, manifest, topology)
    rates = link_rates_of(store.catalog, before=manifest.created_at if options.at else None)
    targets = options.targets or tuple(name for name in topology.sites if name != source)
    plan = plan_replication(
        topology.network(best_rates(rates)),
        source,
        targets,
        objective=options.objective,
        relays=options.relays,
        total_bytes=manifest.total_bytes,
        part_bytes=_piece_bytes(manifest) * _pieces_at_once(manifest),
    )
    for site in options.at:
        if topology.site(site).name not in plan.parents:
            raise InvalidInputError(f"site {site!r} receives nothing by this plan; {', '.join(plan.parents)} do")
    return manifest, plan


def _piece_bytes(manifest: Manifest) -> int:
    """Return the size of the largest pieces of a version."""
    return max((parts_of(entry).part_bytes for entry in manifest.files), default=1)


def _pieces_at_once(manifest: Manifest) -> int:
    """Return how many pieces come to a site side by side.

    They all come late then, and those below wait for the first one; large versions do not mind.
    """
    wanted = manifest.total_bytes // _piece_bytes(manifest) // _PIECES_FOR_EACH
    return max(_LEAST_AT_ONCE, min(_MOST_AT_ONCE, wanted))


def _holder(store: Store, manifest: Manifest, topology: Topology) -> str:
    replicas = store.catalog.replicas(manifest.dataset, manifest.version)
    tiers = {replica.tier for replica in replicas if replica.tier is not None}
    for site in topology.sites.values():
        if site.tier in tiers:
            return site.name
    raise NotFoundError(
        f"no site of the topology is a tier that holds {manifest.reference}: name the source, whose URL holds it"
    )


def replicate(
    store: Store,
    reference: str,
    topology: Topology,
    *,
    options: ReplicationOptions | None = None,
    open_url: Open | None = None,
    control: Control | None = None,
    progress: Progress = no_progress,
) -> ReplicationReport:
    """Send a version to several sites, and record each copy in the catalog.

    A second attempt sends only what a site lacks. A site that fails does not stop the others: those below it go on with
    the nearest site above it that works.

    :param store: whose catalog knows the version.
    :param reference: the version; a fixed reference where several processes share the work.
    :param topology: the sites.
    :param options: where it goes, and by which tree.
    :param open_url: opens a site that is no tier.
    :param control: limits, and a stop.
    :param progress: told about every piece.
    :returns: what became of each site; see :meth:`ReplicationReport.check`.
    :raises StoppedError: when somebody has stopped it.
    """
    options = options or ReplicationOptions()
    manifest, plan = plan_for(store, reference, topology, options)
    for line in plan.arithmetic:
        log.info("%s", line)
    return _Replication(
        store,
        manifest,
        topology,
        plan,
        options,
        open_url=open_url,
        control=control or Control(),
        progress=progress,
    ).run()


class _Replication:
    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        topology: Topology,
        plan: ReplicationPlan,
        options: ReplicationOptions,
        *,
        open_url: Open | None,
        control: Control,
        progress: Progress,
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._topology = topology
        self._plan = plan
        self._options = options
        self._open_url = open_url
        self._control = control
        self._progress = progress
        self._here = [site for site in plan.parents if not options.at or site in options.at]
        self._failed: dict[str, BaseException] = {}
        part = _piece_bytes(manifest)
        self._sites_at_once = max(1, min(_MOST_AT_ONCE, _BUFFER_BYTES // part, len(self._here)))
        room = _BUFFER_BYTES // part // self._sites_at_once
        self._at_once = max(1, min(_pieces_at_once(manifest), room))

    def run(self) -> ReplicationReport:
        """Do the work of the sites of this process; those above come first, so nobody waits for one that waits."""
        reports = {}
        with ThreadPoolExecutor(self._sites_at_once, thread_name_prefix="site") as pool:
            try:
                for future in as_completed([pool.submit(self._receive, site) for site in self._here]):
                    done = future.result()
                    reports[done.site] = done
                    if done.state == "whole":
                        self._store.catalog.put_replica(self._copy(done.site, done.url))
            except BaseException:
                self._control.stop()
                raise
        return ReplicationReport(
            reference=self._manifest.reference,
            plan=self._plan,
            sites=tuple(reports[site] for site in self._here),
            errors={site: self._failed[site] for site in self._here if site in self._failed},
        )

    def _receive(self, name: str) -> SiteReport:
        tally = Tally(f"replicate {self._manifest.reference} to {name}", self._manifest.total_bytes, self._progress)
        senders = Senders(
            [self._sender(above) for above in self._plan.ancestors(name)],
            control=self._control,
            patience_seconds=self._options.patience_seconds,
            retried=tally.retried,
        )
        url = str(self._topology.site(name).url)
        try:
            url = self._version(name).url
            self._bring(name, senders, tally)
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - the other sites go on, whatever is wrong with this one
            self._give_up(name, error)
        failure = self._failed.get(name)
        done = SiteReport(
            site=name,
            source=senders.current.name,
            url=url,
            state="whole" if failure is None else "failed",
            report=tally.report(),
            error="" if failure is None else str(failure),
        )
        log.info("%s is %s, received from %s: %s", name, done.state, done.source, done.report)
        return done

    def _bring(self, name: str, senders: Senders, tally: Tally) -> None:
        root, place = self._root(name), self._version(name)
        self._copy(name, place.url)
        began = datetime.now(UTC)
        retrying(lambda: remove_abandoned_parts(root, began - _GRACE), self._control)
        with self._journal(name, place) as journal:
            Receiver(
                self._manifest,
                name,
                place,
                senders,
                staging=self._staging(name),
                journal=journal,
                control=self._control,
                at_once=min(self._at_once, self._control.at_once(self._at_once)),
                tally=tally,
            ).run()
        if self._options.at:
            # Only a process at the site sees the link that leads there.
            for source, (size, seconds) in senders.measured().items():
                if size >= _LEAST_MEASURED_BYTES and seconds > 0:
                    rate = LinkRate(source=source, target=name, at=began, bytes=size, seconds=seconds)
                    record_link_rate(self._store.catalog, rate)

    def _journal(self, name: str, place: Directory) -> CatalogJournal:
        site = self._topology.site(name)
        target = place.url if site.tier else site.url_of(self._manifest.dataset, self._manifest.version)
        # Not that of a transfer to the same place, which cuts files into other parts.
        transfer = transfer_id([f"replicate {self._manifest.reference}"], target, TransferOptions())
        target = without_password(target)
        return CatalogJournal(self._store.catalog, transfer, target, sleep=self._control.sleep)

    def _give_up(self, name: str, error: Exception) -> None:
        log.warning("%s does not get %s: %s", name, self._manifest.reference, error)
        self._failed[name] = error
        # A site that cannot be reached is found to be silent by those that wait for it.
        with suppress(Exception):
            staging = self._staging(name)
            if staging is not None:
                staging.mark_failed()

    def _sender(self, name: str) -> Sender:
        return Sender(
            name,
            lambda: self._root(name),
            lambda: self._version(name),
            self._manifest,
            is_source=name == self._plan.source,
            gave_up=lambda: name in self._failed,
        )

    def _staging(self, name: str) -> Staging | None:
        if not self._plan.children(name):
            return None
        return Staging(self._root(name), self._manifest.dataset, self._manifest.version)

    def _root(self, name: str) -> Directory:
        return open_site(self._store, self._topology.site(name), self._open_url)

    def _version(self, name: str) -> Directory:
        tier = self._topology.site(name).tier
        if tier is not None and name == self._plan.source:
            return self._store.directory(self._manifest, tier=tier, purpose="publish")
        return self._root(name).child(f"{self._manifest.dataset}/{self._manifest.version}")

    def _copy(self, name: str, url: str) -> Replica:
        """Return the catalog's description of the copy at a site, which may refuse it."""
        tier = self._topology.site(name).tier
        if tier is not None:
            return self._store.replica(self._manifest, self._store.tier(tier))
        return published_copy(self._manifest, url)
