"""Networks as numbers: what is refused, what is shared, what limits a tree."""

from __future__ import annotations

import math

import pytest

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.scheduling.network import Link, Network

LINKS = [
    Link(source="a", target="b", bytes_per_second=100, price_per_gb=2),
    Link(source="a", target="c", bytes_per_second=40, price_per_gb=3),
    Link(source="b", target="c", bytes_per_second=60, price_per_gb=1),
    Link(source="b", target="a", bytes_per_second=100, price_per_gb=2),
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "a"}, "from 'a' to itself"),
        ({"bytes_per_second": 0}, "bytes_per_second 0: it must be more than 0"),
        ({"bytes_per_second": math.nan}, "bytes_per_second nan"),
        ({"price_per_gb": -1}, "price_per_gb -1: it must be 0 or more"),
        ({"price_per_gb": math.inf}, "price_per_gb inf"),
    ],
)
def test_a_link_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Link(**{"source": "a", "target": "b", **options})


def test_two_links_of_one_direction_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="two links from 'a' to 'b'"):
        Network([*LINKS, LINKS[0]])


def test_the_children_of_a_site_share_what_its_best_link_carries() -> None:
    narrowest = Network(LINKS).narrowest({"b": "a", "c": "a"})
    assert (narrowest.name, narrowest.bytes_per_second) == ("the link from a to c", 40)
    narrowest = Network(LINKS, egress={"a": 50}).narrowest({"b": "a", "c": "a"})
    assert (narrowest.name, narrowest.capacity, narrowest.users) == ("what a sends", 50, 2)
    assert narrowest.bytes_per_second == 25


def test_edges_over_one_uplink_share_it() -> None:
    shared = [
        Link(source="a", target=target, bytes_per_second=100, shared=("the uplink",)) for target in ("b", "c", "d")
    ]
    network = Network(shared, capacities={"the uplink": 90})
    tree = dict.fromkeys("bcd", "a")
    assert (network.narrowest(tree).name, network.narrowest(tree).bytes_per_second) == ("the uplink", 30)
    assert network.rates(tree) == dict.fromkeys("bcd", 30)


def test_a_price_in_one_direction_only_is_not_symmetric() -> None:
    network = Network(LINKS)
    assert network.is_symmetric({"a", "b"})
    assert not network.is_symmetric({"a", "b", "c"})


def test_a_site_that_does_not_exist_comes_with_the_closest_name() -> None:
    network = Network([Link(source="frankfurt", target="amsterdam")], sites=["paris"])
    assert network.sites == ("amsterdam", "frankfurt", "paris")
    with pytest.raises(InvalidInputError, match="no site named 'frankfrut'; did you mean 'frankfurt'"):
        network.check("paris", "frankfrut")
