"""Trees of replication: the published example, brute force on small networks, promises on larger ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.scheduling.network import Link, Network
from airflow_dataflow.scheduling.replication import GB, PART_BYTES, plan_replication
from airflow_dataflow.scheduling.widest import depths, seconds_of

EXAMPLE = {("1", "2"): 5, ("2", "3"): 3, ("2", "4"): 4, ("3", "4"): 1, ("4", "5"): 2}
quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def both_ways(prices: Mapping[tuple[str, str], float]) -> list[Link]:
    """Return links that cost the same in both directions."""
    return [
        Link(source=source, target=target, price_per_gb=price)
        for pair, price in prices.items()
        for source, target in (pair, pair[::-1])
    ]


@st.composite
def networks(draw: st.DrawFn, most: int = 5) -> Network:
    """Return a network of a few sites, in which some links are missing, and some sites may send little."""
    sites = "abcdefgh"[: draw(st.integers(2, most))]
    rates, prices = st.sampled_from([10, 20, 50, 100, 1000]), st.integers(0, 9)
    links = [
        Link(source=source, target=target, bytes_per_second=draw(rates) * 1e6, price_per_gb=draw(prices))
        for source, target in product(sites, repeat=2)
        if source != target and draw(st.integers(0, 9)) < 8
    ]
    egress = draw(st.dictionaries(st.sampled_from(sites), st.sampled_from([10e6, 100e6]), max_size=2))
    return Network(links, egress=egress, sites=sites)


def trees(network: Network, source: str, wanted: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield every tree that reaches exactly the sites that are wanted."""
    for parents in product([source, *wanted], repeat=len(wanted)):
        tree = dict(zip(wanted, parents, strict=True))
        if all((parent, child) in network.links for child, parent in tree.items()) and _is_rooted(tree, source):
            yield tree


def _is_rooted(tree: Mapping[str, str], source: str) -> bool:
    for site in tree:
        seen = set()
        while site in tree and site not in seen:
            seen.add(site)
            site = tree[site]  # noqa: PLW2901 - one walk up the tree
        if site != source:
            return False
    return True


def seconds(network: Network, source: str, tree: Mapping[str, str]) -> float:
    """Return how long a tree takes for a gigabyte."""
    rate = network.narrowest(tree).bytes_per_second
    return seconds_of(rate, max(depths(source, tree).values()), GB, PART_BYTES)


# least cost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", list("12345"))
def test_the_example_costs_11_from_whichever_site_it_starts(source: str) -> None:
    plan = plan_replication(Network(both_ways(EXAMPLE)), source, set("12345"), objective="cost")
    edges = {tuple(sorted(edge)) for edge in plan.parents.items()}
    assert edges == {("1", "2"), ("2", "3"), ("3", "4"), ("4", "5")}
    assert (plan.method, plan.figures.cost) == ("minimum spanning tree", 11)


def test_prices_that_differ_by_direction_choose_another_tree_than_their_means() -> None:
    links = [
        Link(source="a", target="b", price_per_gb=1),
        Link(source="b", target="a", price_per_gb=1),
        Link(source="a", target="c", price_per_gb=4),
        Link(source="c", target="a", price_per_gb=4),
        Link(source="b", target="c", price_per_gb=7),
        Link(source="c", target="b", price_per_gb=0),
    ]
    plan = plan_replication(Network(links), "a", ["b", "c"], objective="cost")
    assert (plan.method, plan.figures.price_per_gb) == ("minimum-cost arborescence", 4)
    assert plan.parents == {"c": "a", "b": "c"}


@quickly
@given(networks())
def test_least_cost_is_the_least_of_all_trees(network: Network) -> None:
    wanted = [site for site in network.sites if site != "a"]
    every = [network.price_per_gb(tree) for tree in trees(network, "a", wanted)]
    assume(every)
    plan = plan_replication(network, "a", wanted, objective="cost")
    assert plan.figures.price_per_gb == min(every)
    assert _is_rooted(plan.parents, "a")


@quickly
@given(networks(), st.data())
def test_relays_make_it_cheaper_or_leave_it_and_only_those_that_are_used_are_in_it(
    network: Network, data: st.DataObject
) -> None:
    others = [site for site in network.sites if site != "a"]
    wanted = data.draw(st.lists(st.sampled_from(others), min_size=1, unique=True))
    spare = [site for site in others if site not in wanted]
    assume(network.reachable("a", network.sites) >= set(wanted))
    plan = plan_replication(network, "a", wanted, objective="cost", relays=spare)
    best = min(
        (
            network.price_per_gb(tree)
            for count in range(len(spare) + 1)
            for more in combinations(spare, count)
            for tree in trees(network, "a", [*wanted, *more])
        ),
    )
    direct = [network.price_per_gb(tree) for tree in trees(network, "a", wanted)]
    assert best <= plan.figures.price_per_gb <= min(direct, default=math.inf)
    assert set(wanted) <= set(plan.parents)
    assert all(plan.children(site) for site in plan.parents if site not in wanted)


def test_a_relay_is_worth_its_own_price() -> None:
    links = [Link(source="a", target=target, price_per_gb=9) for target in "bcd"]
    links += [Link(source="a", target="r", price_per_gb=9)]
    links += [Link(source="r", target=target, price_per_gb=1) for target in "bcd"]
    plan = plan_replication(Network(links), "a", ["b", "c", "d"], objective="cost", relays=["r"])
    assert plan.parents == {"r": "a", "b": "r", "c": "r", "d": "r"}
    assert plan.figures.price_per_gb == 12
    assert plan.star is not None
    assert plan.star.price_per_gb == 27


# least time -----------------------------------------------------------------------------------


@quickly
@given(networks())
@example(Network([Link(source=a, target=b, bytes_per_second=1e8) for a, b in product("abcde", repeat=2) if a != b]))
def test_least_time_is_never_worse_than_the_star_and_the_best_of_all_trees_on_small_networks(network: Network) -> None:
    wanted = [site for site in network.sites if site != "a"]
    every = [seconds(network, "a", tree) for tree in trees(network, "a", wanted)]
    assume(every)
    plan = plan_replication(network, "a", wanted)
    assert plan.figures.seconds == pytest.approx(min(every), rel=1e-9)
    assert plan.star is None or plan.figures.seconds <= plan.star.seconds
    assert _is_rooted(plan.parents, "a")


@quickly
@given(networks(most=8), st.data())
def test_relays_never_make_it_slower(network: Network, data: st.DataObject) -> None:
    others = [site for site in network.sites if site != "a"]
    wanted = data.draw(st.lists(st.sampled_from(others), min_size=1, unique=True))
    assume(network.reachable("a", ["a", *wanted]) >= set(wanted))
    alone = plan_replication(network, "a", wanted)
    helped = plan_replication(network, "a", wanted, relays=[site for site in others if site not in wanted])
    assert helped.figures.seconds <= alone.figures.seconds
    assert all(helped.children(site) for site in helped.parents if site not in wanted)


def test_equal_sites_form_a_chain_when_there_is_much_to_send_and_a_star_when_there_is_little() -> None:
    sites = "abcdefghi"
    network = Network([Link(source=a, target=b, bytes_per_second=1e8) for a, b in product(sites, repeat=2) if a != b])
    chain = plan_replication(network, "a", sites[1:], total_bytes=100 * GB)
    assert chain.figures.bytes_per_second == 1e8
    assert max(depths("a", chain.parents).values()) == 8
    assert chain.star is not None
    assert chain.star.seconds / chain.figures.seconds == pytest.approx(8, rel=0.01)
    small = plan_replication(network, "a", sites[1:], total_bytes=1)
    assert small.figures.seconds < chain.figures.seconds


def test_forty_sites_are_planned_in_seconds_and_the_same_way_each_time() -> None:
    sites = [f"s{number:02}" for number in range(40)]
    links = [
        Link(source=a, target=b, bytes_per_second=1e6 * (1 + (i * 7 + j * 13) % 50), price_per_gb=(i * j) % 5)
        for (i, a), (j, b) in product(enumerate(sites), repeat=2)
        if a != b
    ]
    plan = plan_replication(Network(links), sites[0], sites[1:])
    assert plan.parents == plan_replication(Network(links[::-1]), sites[0], sites[:0:-1]).parents
    assert plan.star is not None
    assert plan.figures.seconds < plan.star.seconds / 10


# plans ----------------------------------------------------------------------------------------


def test_a_plan_says_its_arithmetic() -> None:
    network = Network(
        [
            Link(source="a", target="b", bytes_per_second=100e6, price_per_gb=0.5),
            Link(source="a", target="c", bytes_per_second=50e6, price_per_gb=0.25),
            Link(source="b", target="c", bytes_per_second=100e6),
        ]
    )
    plan = plan_replication(network, "a", ["b", "c"], total_bytes=2 * GB, part_bytes=10**7)
    assert plan.arithmetic == (
        "cost: 0.5 (a-b) + 0 (b-c) = 0.5 per GB, x 2 GB = 1",
        "rate: the link from a to b, 100 MB/s, is shared by 1: 100 MB/s for each site",
        "time: 2,000,000,000 bytes at that rate, 1 more hops of 10,000,000 bytes each: 20.1 s",
        "a star from a: cost 1.5, 50 MB/s, 40.0 s",
    )
    assert (plan.ancestors("c"), plan.children("b"), plan.ancestors("a")) == (("b", "a"), ("c",), ())


def test_a_plan_becomes_json_also_where_nothing_limits_it() -> None:
    plan = plan_replication(Network(both_ways(EXAMPLE)), "1", ["2"])
    data = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert data["edges"] == [{"source": "1", "target": "2"}]
    assert (data["figures"]["bytes_per_second"], data["figures"]["seconds"]) == (None, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", ["6"]), "no site named '6'"),
        (("0", ["1"]), "no site named '0'"),
        (("1", ["1"]), "needs at least one other site"),
        (("1", []), "needs at least one other site"),
        (("1", ["3"]), "no links lead from '1' to 3 by way of the other targets"),
    ],
)
def test_a_plan_that_cannot_be_says_why(arguments: tuple[str, list[str]], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        plan_replication(Network(both_ways(EXAMPLE)), *arguments)


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no objective named 'costs'; did you mean 'cost'"):
        plan_replication(Network(both_ways(EXAMPLE)), "1", ["2"], objective="costs")  # type: ignore[arg-type]
