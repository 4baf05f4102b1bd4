"""The tree with the least sum of prices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from airflow_dataflow.scheduling.network import Network, Tree


def cheapest_tree(
    network: Network, source: str, wanted: Sequence[str], relays: Collection[str]
) -> tuple[str, dict[str, str]]:
    """Return how it was found, and the tree.

    :param wanted: sites to reach; all of them can be reached over each other and the relays.
    :param relays: sites that may be part of the tree.
    """
    ends = {source, *wanted}
    spare = sorted(set(relays) - ends)
    if spare:
        return "directed Steiner tree, by local search", _with_relays(network, source, wanted, spare)
    if network.is_symmetric(ends):
        return "minimum spanning tree", _spanning_tree(network, source, ends)
    return "minimum-cost arborescence", _arborescence(network, source, ends)


def _spanning_tree(network: Network, source: str, sites: Collection[str]) -> dict[str, str]:
    import networkx as nx

    graph = nx.Graph()
    for link in network.between(sites):
        graph.add_edge(*sorted((link.source, link.target)), price=link.price_per_gb)
    tree = nx.minimum_spanning_tree(graph, weight="price")
    return {child: parent for parent, child in nx.bfs_edges(tree, source)}


def _arborescence(network: Network, source: str, sites: Collection[str]) -> dict[str, str]:
    import networkx as nx

    graph = nx.DiGraph()
    for link in network.between(sites):
        if link.target != source:
            graph.add_edge(link.source, link.target, price=link.price_per_gb)
    tree = nx.minimum_spanning_arborescence(graph, attr="price")
    return {child: parent for parent, child in tree.edges}


def _with_relays(network: Network, source: str, wanted: Sequence[str], spare: Sequence[str]) -> dict[str, str]:
    ends = {source, *wanted}
    found = []
    for begin in _choices(network, source, wanted, spare):
        tree = _tree_over(network, source, wanted, ends | begin)
        if tree is not None:
            found.append(_improved(network, source, wanted, spare, tree))
    return min(found, key=network.price_per_gb)


def _choices(network: Network, source: str, wanted: Sequence[str], spare: Sequence[str]) -> Iterator[set[str]]:
    """Yield relays to begin with: none, those of the cheapest paths from the source, and all."""
    import networkx as nx

    graph = nx.DiGraph()
    for link in network.between({source, *wanted, *spare}):
        graph.add_edge(link.source, link.target, price=link.price_per_gb)
    paths: dict[str, Any] = nx.single_source_dijkstra_path(graph, source, weight="price")
    yield set()
    yield {site for target in wanted for site in paths[target]} & set(spare)
    yield set(spare)


def _improved(
    network: Network, source: str, wanted: Sequence[str], spare: Sequence[str], tree: dict[str, str]
) -> dict[str, str]:
    """Add or drop one relay at a time, the best one, as long as that makes the tree cheaper."""
    while True:
        now = {source, *tree}
        others = [_tree_over(network, source, wanted, now ^ {relay}) for relay in spare]
        best = min((other for other in others if other is not None), key=network.price_per_gb, default=tree)
        if network.price_per_gb(best) >= network.price_per_gb(tree):
            return tree
        tree = best


def _tree_over(network: Network, source: str, wanted: Sequence[str], sites: Collection[str]) -> dict[str, str] | None:
    inside = network.reachable(source, sites)
    if not inside.issuperset(wanted):
        return None
    return pruned(_arborescence(network, source, inside), wanted)


def pruned(tree: Tree, wanted: Iterable[str]) -> dict[str, str]:
    """Return a tree without the sites that pass on to nobody who wants it."""
    kept: dict[str, str] = {}
    for site in wanted:
        while site in tree and site not in kept:
            kept[site] = tree[site]
            site = tree[site]  # noqa: PLW2901 - one walk up the tree
    return kept
