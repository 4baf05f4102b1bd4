"""The tree along which all sites have everything first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from airflow_dataflow.scheduling.cheapest import cheapest_tree, pruned
from airflow_dataflow.scheduling.network import Network, Tree

_ALL_MOVES = 16
"""Up to this number of sites every change is tried, from every start; beyond, those that the rate depends on."""

Score = tuple[float, int, float, int]


def depths(source: str, tree: Tree) -> dict[str, int]:
    """Return the number of edges between the source and each site."""
    found = {source: 0}
    for site in tree:
        path = []
        while site not in found:
            path.append(site)
            site = tree[site]  # noqa: PLW2901 - one walk up the tree
        found |= {one: below for below, one in enumerate(reversed(path), start=found[site] + 1)}
    return found


def seconds_of(bytes_per_second: float, depth: int, total_bytes: int, part_bytes: int) -> float:
    """Return the time until the last site has everything.

    :param bytes_per_second: rate of every edge.
    :param depth: edges between the source and the farthest site; each but the first waits for one part.
    """
    return (total_bytes + (depth - 1) * min(part_bytes, total_bytes)) / bytes_per_second


def widest_tree(
    network: Network,
    source: str,
    wanted: Sequence[str],
    relays: Collection[str],
    *,
    total_bytes: int,
    part_bytes: int,
) -> tuple[str, dict[str, str]]:
    """Return how it was found, and the tree.

    :param wanted: sites to reach; all of them can be reached over each other and the relays.
    :param relays: sites that may be part of the tree.
    """

    def score(tree: Tree) -> Score:
        level = max(depths(source, tree).values())
        rates = list(network.rates(tree).values())
        slowest = min(rates)
        # Of trees that are equally fast, the one with fewer edges at its limit is nearer to a faster one.
        return (
            seconds_of(slowest, level, total_bytes, part_bytes),
            rates.count(slowest),
            network.price_per_gb(tree),
            level,
        )

    search = _Search(network, source, tuple(wanted), tuple(sorted(set(relays) - {source, *wanted})), score)
    starts = sorted((tree for tree in search.starts() if tree is not None), key=score)
    best = min((search.improved(tree) for tree in starts[: None if len(wanted) <= _ALL_MOVES else 2]), key=score)
    return "degree-limited widest tree, by local search", best


class _Search:
    def __init__(
        self,
        network: Network,
        source: str,
        wanted: tuple[str, ...],
        spare: tuple[str, ...],
        score: Callable[[Tree], Score],
    ) -> None:
        self.network, self.source, self.wanted, self.spare, self.score = network, source, wanted, spare, score

    def starts(self) -> Iterator[dict[str, str] | None]:
        """Yield trees to begin with."""
        links = self.network.links
        yield (dict.fromkeys(self.wanted, self.source) if all((self.source, t) in links for t in self.wanted) else None)
        yield cheapest_tree(self.network, self.source, self.wanted, self.spare)[1]
        for most in sorted({1, 2, 3, 4, len(self.wanted)}):
            for sites in (self.wanted, self.wanted + self.spare)[: 1 + bool(self.spare)]:
                yield self._grown(sites, most)
        if len(self.wanted) <= _ALL_MOVES:
            for first in self.wanted + self.spare:
                yield self._grown(self.wanted + self.spare, len(self.wanted), first)

    def _grown(self, sites: Sequence[str], most: int, first: str | None = None) -> dict[str, str] | None:
        """Add the site that keeps the rate highest, one by one, where nobody gets more than ``most`` children.

        :param first: site to begin with; the one to which the best link leads when ``None``.
        """
        tree: dict[str, str] = {}
        level = {self.source: 0}
        users: Counter[str] = Counter()
        children: Counter[str] = Counter()
        while not tree.keys() >= set(self.wanted):
            open_links = [
                (sender, site)
                for sender in level
                for site in ((first,) if first is not None and not tree else sites)
                if children[sender] < most and site not in level and (sender, site) in self.network.links
            ]
            if not open_links:
                return None
            sender, site = max(open_links, key=lambda pair: (self._room(pair, users), -level[pair[0]], pair))
            users.update([name for name, _ in self.network.limits(sender, site)])
            children[sender] += 1
            level[site] = level[sender] + 1
            tree[site] = sender
        return pruned(tree, self.wanted)

    def _room(self, pair: tuple[str, str], users: Counter[str]) -> float:
        return min(capacity / (users[name] + 1) for name, capacity in self.network.limits(*pair))

    def improved(self, tree: dict[str, str]) -> dict[str, str]:
        """Make one change after the other, as long as one makes the tree better."""
        while True:
            now = self.score(tree)
            better = (other for other in self._neighbours(tree) if self.score(other) < now)
            # The best change leads farthest; among many sites the first one has to do.
            found = min(better, key=self.score, default=None) if len(tree) <= _ALL_MOVES else next(better, None)
            if found is None:
                return tree
            tree = found

    def _neighbours(self, tree: dict[str, str]) -> Iterator[dict[str, str]]:
        links = self.network.links
        for site in self._movable(tree):
            below = {child for child in tree if site in _path(tree, child)}
            for sender in (self.source, *tree, *self.spare):
                if sender in below or sender == tree[site] or (sender, site) not in links:
                    continue
                if sender in tree or sender == self.source:
                    yield pruned(tree | {site: sender}, self.wanted)
                elif (tree[site], sender) in links:
                    yield tree | {sender: tree[site], site: sender}
            yield from self._swaps(tree, site)

    def _movable(self, tree: dict[str, str]) -> list[str]:
        if len(tree) <= _ALL_MOVES:
            return list(tree)
        rates = self.network.rates(tree)
        slowest = min(rates.values())
        return [site for site, rate in rates.items() if rate == slowest]

    def _swaps(self, tree: dict[str, str], site: str) -> Iterator[dict[str, str]]:
        """Yield the trees in which two sites have changed places."""
        for other in tree:
            if other <= site and len(tree) <= _ALL_MOVES:
                continue
            names = {site: other, other: site}
            swapped = {names.get(child, child): names.get(parent, parent) for child, parent in tree.items()}
            if all((parent, child) in self.network.links for child, parent in swapped.items()):
                yield swapped


def _path(tree: Tree, site: str) -> Iterator[str]:
    """Yield a site and all above it."""
    while site in tree:
        yield site
        site = tree[site]
    yield site
