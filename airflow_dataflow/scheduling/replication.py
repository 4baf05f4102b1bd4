"""Trees along which one version goes from one site to many.

Least cost is a minimum-cost arborescence (Chu and Liu 1965, Edmonds 1967), which is a minimum spanning tree, whatever
its root, where all prices are the same in both directions. Sites that only pass on make it a directed Steiner problem,
for which a local search over these sites is used, with an arborescence for each choice.

Least time sends along all edges at once, part by part, so that each edge carries the same bytes per second: the
capacity of the narrowest link, uplink or sender, divided by the edges that share it. The best tree is a widest tree
whose sites have few children (hard to find, like a Hamiltonian path); it is searched from several starts, of which one
is the star, so it is never worse than that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from airflow_dataflow.errors import InvalidInputError, did_you_mean
from airflow_dataflow.scheduling.cheapest import cheapest_tree
from airflow_dataflow.scheduling.network import Narrowest, Network, Tree
from airflow_dataflow.scheduling.widest import depths, seconds_of, widest_tree

Objective = Literal["cost", "time"]
GB = 10**9
PART_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What it takes to send a version along a tree."""

    price_per_gb: float
    """Sum of the prices of all edges, for 10^9 bytes."""
    cost: float
    """The same for the bytes of the version."""
    bytes_per_second: float
    """Rate at which each site receives, all at the same time."""
    seconds: float
    """Time until the last site has everything."""


@dataclass(frozen=True, kw_only=True)
class ReplicationPlan:
    """A tree, and what it takes."""

    source: str
    """Site that has the version."""
    targets: tuple[str, ...]
    """Sites that want it."""
    objective: Objective
    """What the tree makes as small as possible."""
    method: str
    """How it was found."""
    parents: Mapping[str, str]
    """Each site that receives, and the site that sends to it; senders come before those they send to."""
    total_bytes: int
    """Bytes of the version."""
    figures: Figures
    """What the tree takes."""
    star: Figures | None
    """What it would take to send from the source to each site alone; ``None`` where not all have such a link."""
    arithmetic: tuple[str, ...] = field(default=())
    """How the figures come about, in words."""

    def children(self, site: str) -> tuple[str, ...]:
        """Return the sites that a site sends to."""
        return tuple(child for child, parent in self.parents.items() if parent == site)

    def ancestors(self, site: str) -> tuple[str, ...]:
        """Return the sites between a site and the source, nearest first, the source included."""
        found = []
        while site != self.source:
            site = self.parents[site]
            found.append(site)
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values; what nothing limits is ``None``."""
        plain = asdict(self) | {"edges": [{"source": a, "target": b} for b, a in self.parents.items()]}
        del plain["parents"]
        for figures in (plain["figures"], plain["star"] or {}):
            figures.update({key: None for key, value in figures.items() if math.isinf(value)})
        return plain


def plan_replication(
    network: Network,
    source: str,
    targets: Collection[str],
    *,
    objective: Objective = "time",
    relays: Collection[str] = (),
    total_bytes: int = GB,
    part_bytes: int = PART_BYTES,
) -> ReplicationPlan:
    """Choose the tree along which a version goes from one site to others, which pass it on to each other.

    The same arguments give the same tree, in every process.

    :param network: sites and links.
    :param source: site that has the version.
    :param targets: sites that want it.
    :param objective: ``cost`` for the least sum of prices, ``time`` for the earliest moment at which all have it.
    :param relays: sites that may pass it on although they do not want it.
    :param total_bytes: bytes of the version.
    :param part_bytes: bytes that a site has to have before it begins to pass them on.
    :raises InvalidInputError: when a site is unknown, or no link leads to it.
    """
    if objective not in get_args(Objective):
        raise InvalidInputError(f"no objective named {objective!r}{did_you_mean(objective, get_args(Objective))}")
    wanted = sorted({*targets} - {source})
    network.check(source, *wanted, *relays)
    if not wanted:
        raise InvalidInputError(f"a replication from {source!r} needs at least one other site as its target")
    allowed = {source, *wanted, *relays}
    lost = [site for site in wanted if site not in network.reachable(source, allowed)]
    if lost:
        raise InvalidInputError(
            f"no links lead from {source!r} to {', '.join(lost)} by way of the other targets: "
            "declare a link, or allow another site as a relay"
        )
    if objective == "cost":
        method, tree = cheapest_tree(network, source, wanted, relays)
    else:
        method, tree = widest_tree(network, source, wanted, relays, total_bytes=total_bytes, part_bytes=part_bytes)
    ordered = dict(_from_the_top(source, tree))
    star = dict.fromkeys(wanted, source) if all((source, site) in network.links for site in wanted) else None
    figures, lines = _figures(network, source, ordered, total_bytes, part_bytes)
    others = None if star is None else _figures(network, source, star, total_bytes, part_bytes)[0]
    if others is not None:
        lines.append(
            f"a star from {source}: cost {others.cost:.6g}, {_rate(others.bytes_per_second)}, {others.seconds:.1f} s"
        )
    return ReplicationPlan(
        source=source,
        targets=tuple(wanted),
        objective=objective,
        method=method,
        parents=ordered,
        total_bytes=total_bytes,
        figures=figures,
        star=others,
        arithmetic=tuple(lines),
    )


def _from_the_top(source: str, tree: Tree) -> Iterator[tuple[str, str]]:
    level = depths(source, tree)
    for site in sorted(tree, key=lambda site: (level[site], site)):
        yield site, tree[site]


def _figures(network: Network, source: str, tree: Tree, total_bytes: int, part_bytes: int) -> tuple[Figures, list[str]]:
    price, narrowest = network.price_per_gb(tree), network.narrowest(tree)
    part = min(part_bytes, total_bytes)
    rate, hops = narrowest.bytes_per_second, max(depths(source, tree).values()) - 1
    figures = Figures(
        price_per_gb=price,
        cost=price * total_bytes / GB,
        bytes_per_second=rate,
        seconds=seconds_of(rate, hops + 1, total_bytes, part_bytes),
    )
    prices = " + ".join(f"{network.links[a, b].price_per_gb:g} ({a}-{b})" for b, a in tree.items())
    lines = [
        f"cost: {prices} = {price:.6g} per GB, x {total_bytes / GB:.6g} GB = {figures.cost:.6g}",
        f"rate: {_limit(narrowest)}",
        f"time: {total_bytes:,} bytes at that rate, {hops} more hops of {part:,} bytes each: {figures.seconds:.1f} s",
    ]
    return figures, lines


def _limit(narrowest: Narrowest) -> str:
    if math.isinf(narrowest.capacity):
        return "nothing is known to limit it"
    return (
        f"{narrowest.name}, {_rate(narrowest.capacity)}, is shared by {narrowest.users}: "
        f"{_rate(narrowest.bytes_per_second)} for each site"
    )


def _rate(bytes_per_second: float) -> str:
    return "no limit" if math.isinf(bytes_per_second) else f"{bytes_per_second / 1e6:,.6g} MB/s"
