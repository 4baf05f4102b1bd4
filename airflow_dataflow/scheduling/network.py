"""A network as numbers: sites, directed links with bandwidth and price, and what several links share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from airflow_dataflow.errors import InvalidInputError, did_you_mean

Tree = Mapping[str, str]
"""Each site of a tree but its root, and the site that it receives from."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A way from one site to another."""

    source: str
    """Name of the site that sends."""
    target: str
    """Name of the site that receives."""
    bytes_per_second: float = math.inf
    """Most bytes that it carries in a second; infinite where nothing limits it."""
    price_per_gb: float = 0.0
    """Price of 10^9 bytes, in any currency, the same for all links."""
    shared: tuple[str, ...] = ()
    """Names of what it shares with other links, such as the uplink of a switch."""

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise InvalidInputError(f"a link leads from {self.source!r} to itself")
        if not self.bytes_per_second > 0:
            raise InvalidInputError(
                f"the link from {self.source!r} to {self.target!r} has bytes_per_second {self.bytes_per_second:g}: "
                "it must be more than 0; leave a link out that carries nothing"
            )
        if not 0 <= self.price_per_gb < math.inf:
            raise InvalidInputError(
                f"the link from {self.source!r} to {self.target!r} has price_per_gb {self.price_per_gb:g}: "
                "it must be 0 or more"
            )


@dataclass(frozen=True)
class Narrowest:
    """What limits the rate of a tree."""

    name: str
    """What it is, in words; empty where nothing is limited."""
    capacity: float
    """Bytes per second that it carries."""
    users: int
    """Number of edges of the tree that share it."""

    @property
    def bytes_per_second(self) -> float:
        """What each edge gets of it."""
        return self.capacity / self.users


class Network:
    """Sites and the links between them.

    All links that leave a site share what it can send. That is what ``egress`` says, or the bandwidth of its best link,
    unless its links share something else already.

    :param links: the links; each pair of sites has one per direction at most.
    :param capacities: bytes per second of what links share, by name.
    :param egress: bytes per second that a site can send in all, by site.
    :param sites: further sites, without links.
    """

    def __init__(
        self,
        links: Iterable[Link],
        *,
        capacities: Mapping[str, float] | None = None,
        egress: Mapping[str, float] | None = None,
        sites: Iterable[str] = (),
    ) -> None:
        self.links: dict[tuple[str, str], Link] = {}
        for link in links:
            if (link.source, link.target) in self.links:
                raise InvalidInputError(f"there are two links from {link.source!r} to {link.target!r}")
            self.links[link.source, link.target] = link
        self.sites = tuple(sorted({*sites, *(site for pair in self.links for site in pair)}))
        self._limits = {
            pair: self._limits_of(link, capacities or {}, egress or {}) for pair, link in self.links.items()
        }

    def _limits_of(
        self, link: Link, capacities: Mapping[str, float], egress: Mapping[str, float]
    ) -> list[tuple[str, float]]:
        limits = [(f"the link from {link.source} to {link.target}", link.bytes_per_second)]
        limits += [(name, capacities[name]) for name in link.shared]
        if link.source in egress or not link.shared:
            best = max(other.bytes_per_second for other in self.links.values() if other.source == link.source)
            limits.append((f"what {link.source} sends", egress.get(link.source, best)))
        return limits

    def check(self, *sites: str) -> None:
        """Make sure that these sites exist.

        :raises InvalidInputError: for one that does not, with the closest name.
        """
        for site in sites:
            if site not in self.sites:
                raise InvalidInputError(f"no site named {site!r}{did_you_mean(site, self.sites)}")

    def limits(self, source: str, target: str) -> list[tuple[str, float]]:
        """Return all that a link uses: name and bytes per second."""
        return self._limits[source, target]

    def between(self, sites: Collection[str]) -> list[Link]:
        """Return the links whose both ends are among ``sites``, in the order of their names."""
        return [self.links[pair] for pair in sorted(self.links) if pair[0] in sites and pair[1] in sites]

    def is_symmetric(self, sites: Collection[str]) -> bool:
        """Tell whether every link between ``sites`` costs the same in both directions."""
        return all(
            (back := self.links.get((link.target, link.source))) is not None and back.price_per_gb == link.price_per_gb
            for link in self.between(sites)
        )

    def reachable(self, source: str, sites: Collection[str]) -> set[str]:
        """Return those of ``sites`` to which links between them lead from ``source``."""
        found, todo = {source}, [source]
        while todo:
            here = todo.pop()
            new = [target for target in sites if target not in found and (here, target) in self.links]
            found.update(new)
            todo += new
        return found

    def narrowest(self, tree: Tree) -> Narrowest:
        """Return what limits the rate at which all edges of a tree carry the same bytes at the same time."""
        users = self._users(tree)
        return min(
            (
                Narrowest(name, capacity, users[name])
                for child, parent in tree.items()
                for name, capacity in self._limits[parent, child]
            ),
            key=lambda limit: limit.bytes_per_second,
        )

    def rates(self, tree: Tree) -> dict[str, float]:
        """Return bytes per second of the edge to each site of a tree, when all edges are busy at the same time."""
        users = self._users(tree)
        return {
            child: min([capacity / users[name] for name, capacity in self._limits[parent, child]])
            for child, parent in tree.items()
        }

    def _users(self, tree: Tree) -> Counter[str]:
        return Counter([name for child, parent in tree.items() for name, _ in self._limits[parent, child]])

    def price_per_gb(self, tree: Tree) -> float:
        """Return what it costs to send 10^9 bytes along every edge of a tree."""
        return math.fsum(self.links[source, target].price_per_gb for target, source in tree.items())
