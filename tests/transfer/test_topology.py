"""Topologies: declared flat or in layers, measured, and what is wrong with one."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_dataflow.datasets.catalog.links import LinkRate, best_rates, link_rates_of, record_link_rate
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.scheduling.replication import plan_replication
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.topology import load_topology, open_site

SITES = {name: {"url": f"/mnt/{name}"} for name in ("a", "b", "c", "d")}
LAYERS = [
    {"name": "leaf-1", "members": ["a", "b"], "bytes_per_second": 100e6},
    {"name": "leaf-2", "members": ["c", "d"], "bytes_per_second": 100e6, "price_per_gb": 0.5},
    {"name": "spine", "members": ["leaf-1", "leaf-2"], "bytes_per_second": 50e6, "price_per_gb": 1},
]


# flat -----------------------------------------------------------------------------------------


def test_a_link_between_two_sites_counts_both_ways_and_one_with_a_source_only_one() -> None:
    links = [
        {"between": ["a", "b"], "bytes_per_second": 10, "price_per_gb": 0.5},
        {"source": "b", "target": "c", "bytes_per_second": "1.25e8"},
    ]
    network = load_topology({"sites": SITES, "links": links}).network()
    assert set(network.links) == {("a", "b"), ("b", "a"), ("b", "c")}
    assert network.links["b", "a"].price_per_gb == 0.5
    assert (network.links["b", "c"].bytes_per_second, network.links["b", "c"].price_per_gb) == (1.25e8, 0)


def test_a_site_may_say_what_it_can_send_in_all() -> None:
    sites = SITES | {"a": {"url": "/mnt/a", "egress_bytes_per_second": 30}}
    links = [{"source": "a", "target": target, "bytes_per_second": 100} for target in ("b", "c")]
    network = load_topology({"sites": sites, "links": links}).network()
    assert network.narrowest({"b": "a", "c": "a"}).bytes_per_second == 15


def test_sites_without_links_reach_each_other() -> None:
    network = load_topology({"sites": SITES}).network({("a", "b"): 5e6, ("a", "gone"): 1.0})
    assert len(network.links) == 12
    assert network.links["a", "b"].bytes_per_second == 5e6
    assert math.isinf(network.links["b", "a"].bytes_per_second)
    assert network.sites == ("a", "b", "c", "d")


@pytest.mark.parametrize("form", [json.dumps, yaml.safe_dump])
def test_a_file_says_the_same_as_a_mapping(tmp_path: Path, form: Any) -> None:
    content = {"sites": SITES, "switches": LAYERS}
    path = tmp_path / "topology.yaml"
    path.write_text(form(content))
    assert load_topology(path) == load_topology(str(path)) == load_topology(content)


def test_sites_may_have_numbers_for_names_and_the_text_may_stand_for_the_file() -> None:
    text = """
    sites: {1: {tier: hot}, 2: {url: /mnt/2}, 3: {url: /mnt/3}}
    links: [{between: [1, 2], price_per_gb: 5}, {source: 2, target: 3}]
    switches: [{name: 7, members: [1, 3]}]
    """
    topology = load_topology(text)
    assert list(topology.sites) == ["1", "2", "3"]
    assert set(topology.network().links) == {("1", "2"), ("2", "1"), ("2", "3"), ("1", "3"), ("3", "1")}
    assert load_topology('{"sites": {"1": {"tier": "hot"}}}').site("1").tier == "hot"


# in layers ------------------------------------------------------------------------------------


def test_layers_become_links_with_shared_uplinks() -> None:
    network = load_topology({"sites": SITES, "switches": LAYERS}).network()
    assert len(network.links) == 12
    near, far = network.links["a", "b"], network.links["a", "c"]
    assert (near.bytes_per_second, near.price_per_gb) == (100e6, 0)
    assert (far.bytes_per_second, far.price_per_gb) == (50e6, 2.5)
    assert near.shared == ("the way from a up to leaf-1", "the way from leaf-1 down to b")
    assert "the way from leaf-1 up to spine" in far.shared
    narrowest = network.narrowest({"c": "a", "d": "a", "b": "a"})
    assert (narrowest.name, narrowest.bytes_per_second) == ("the way from leaf-1 up to spine", 25e6)


def test_a_plan_crosses_the_spine_once() -> None:
    plan = plan_replication(load_topology({"sites": SITES, "switches": LAYERS}).network(), "a", ["b", "c", "d"])
    assert len([parent for child, parent in plan.parents.items() if child in "cd" and parent in "ab"]) == 1
    assert plan.figures.bytes_per_second == 50e6


def test_a_link_of_its_own_stands_beside_the_switches() -> None:
    own = [{"source": "a", "target": "c", "bytes_per_second": 1e9}]
    network = load_topology({"sites": SITES, "switches": LAYERS, "links": own}).network()
    assert network.links["a", "c"].bytes_per_second == 1e9
    assert network.links["a", "c"].shared == ()


def test_sites_of_networks_that_are_not_joined_do_not_reach_each_other() -> None:
    network = load_topology({"sites": SITES, "switches": LAYERS[:2]}).network()
    assert set(network.links) == {("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")}


# measured -------------------------------------------------------------------------------------


def rate(seconds: float, *, day: int, size: int = 100, source: str = "a", target: str = "b") -> LinkRate:
    """Return what a link did on a day."""
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day)
    return LinkRate(source=source, target=target, at=at, bytes=size, seconds=seconds)


def test_the_best_rate_of_a_link_counts_where_none_is_declared(store: Store) -> None:
    for measured in (rate(10, day=1), rate(4, day=2), rate(5, day=3), rate(1, day=1, target="c")):
        record_link_rate(store.catalog, measured)
    best = best_rates(link_rates_of(store.catalog))
    assert best == {("a", "b"): 25.0, ("a", "c"): 100.0}
    links = [{"between": ["a", "b"], "price_per_gb": 0.5}, {"source": "a", "target": "c", "bytes_per_second": 7}]
    network = load_topology({"sites": SITES, "links": links}).network(best)
    assert set(network.links) == {("a", "b"), ("b", "a"), ("a", "c")}
    assert (network.links["a", "b"].bytes_per_second, network.links["a", "b"].price_per_gb) == (25.0, 0.5)
    assert math.isinf(network.links["b", "a"].bytes_per_second)
    assert network.links["a", "c"].bytes_per_second == 7


def test_what_was_measured_later_can_be_left_out(store: Store) -> None:
    for day in (1, 2, 3):
        record_link_rate(store.catalog, rate(1 / day, day=day))
    earlier = link_rates_of(store.catalog, before=rate(1, day=3).at)
    assert [found.at.day for found in earlier] == [3, 2]
    assert best_rates(earlier) == {("a", "b"): 200.0}


def test_old_measurements_of_a_link_are_forgotten_and_those_of_others_stay(store: Store) -> None:
    record_link_rate(store.catalog, rate(1, day=0, target="c"))
    for day in range(25):
        record_link_rate(store.catalog, rate(1, day=day))
    kept = link_rates_of(store.catalog)
    assert len([found for found in kept if found.target == "b"]) == 20
    assert len(kept) == 21
    assert min(found.at for found in kept if found.target == "b") == rate(1, day=5).at


# sites ----------------------------------------------------------------------------------------


def test_a_site_is_a_tier_or_a_place_of_its_own(store: Store, tmp_path: Path) -> None:
    topology = load_topology({"sites": {"hub": {"tier": "cold"}, "far": {"url": str(tmp_path / "far")}}})
    assert open_site(store, topology.site("hub")).url == store.tier("cold").directory.url
    assert open_site(store, topology.site("far")).root == str(tmp_path / "far")
    given = store.tier("hot").directory
    assert open_site(store, topology.site("far"), lambda _site: given) is given


@pytest.mark.parametrize(
    ("site", "url"),
    [
        ({"url": "/mnt/a/"}, "/mnt/a/x/y/v"),
        ({"url": "s3://bucket/a"}, "s3://bucket/a/x/y/v"),
        ({"url": "s3://aws@bucket"}, "s3://aws@bucket/x/y/v"),
        ({"url": "s3://bucket", "conn_id": "aws"}, "s3://aws@bucket/x/y/v"),
        ({"url": "s3://other@bucket/k@y", "conn_id": "aws"}, "s3://aws@bucket/k@y/x/y/v"),
    ],
)
def test_a_sweep_knows_by_which_connection_a_site_is_opened(site: dict[str, str], url: str) -> None:
    assert load_topology({"sites": {"a": site}}).site("a").url_of("x/y", "v") == url


def test_a_site_s_secrets_are_not_in_its_text() -> None:
    topology = load_topology({"sites": {"a": {"url": "s3://a", "storage_options": {"secret": "hush"}}}})
    assert "hush" not in repr(topology)


def test_a_url_with_a_password_is_refused_and_not_repeated(store: Store) -> None:
    topology = load_topology({"sites": {"a": {"url": "s3://me:hush@bucket/a"}}})
    with pytest.raises(InvalidInputError, match="must not carry credentials") as caught:
        open_site(store, topology.site("a"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sties": {}}, "unknown key 'sties'; did you mean 'sites'?"),
        ({"links": []}, "has no 'sites'"),
        ({"sites": ["a"]}, "has no 'sites'"),
        ({"sites": {"a": "s3://key:secret@a"}}, "site 'a' of the topology is not a mapping"),
        ({"sites": {"a": {"urll": "/a"}}}, "site 'a' has no parameter 'urll'; did you mean 'url'?"),
        ({"sites": {"a": {}}}, "site 'a' has neither of 'url' and 'tier'"),
        ({"sites": {"a": {"url": "/a", "tier": "hot"}}}, "site 'a' has both of 'url' and 'tier'"),
        ({"sites": {"a" * 101: {"url": "/a"}}}, "1 to 100 characters"),
        ({"sites": {"a": {"url": "/a", "egress_bytes_per_second": 0}}}, "more than 0"),
        ({"sites": SITES, "links": {}}, None),
        ({"sites": SITES, "links": "ab"}, "'links' of the topology is not a list"),
        ({"sites": SITES, "links": [{"source": "a"}]}, "either 'source' and 'target', or 'between'"),
        ({"sites": SITES, "links": [{"source": "a", "target": "b", "between": ["a", "b"]}]}, "either 'source'"),
        ({"sites": SITES, "links": [{"between": ["a", "e"]}]}, "no site named 'e'"),
        ({"sites": SITES, "links": [{"between": ["a", "b"], "price": 1}]}, "no parameter 'price'"),
        ({"sites": SITES, "links": [{"between": ["a", "b"], "bytes_per_second": "fast"}]}, "got 'fast'"),
        ({"sites": SITES, "switches": [{"name": "s", "members": ["e"]}]}, "unknown member 'e'"),
        ({"sites": SITES, "switches": [{"name": "a", "members": ["b"]}]}, "names of sites and switches must differ"),
        (
            {"sites": SITES, "switches": [{"name": "s", "members": ["a"]}, {"name": "t", "members": ["a"]}]},
            "'a' is below two switches, s and t",
        ),
        (
            {"sites": SITES, "switches": [{"name": "s", "members": ["t"]}, {"name": "t", "members": ["s"]}]},
            "switches form a circle: s - t - s",
        ),
        ([], "a topology is a mapping"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: Any, message: str | None) -> None:
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(content))
    if message is None:
        assert load_topology(path).links == ()
        return
    with pytest.raises(InvalidInputError) as caught:
        load_topology(path)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no topology file"):
        load_topology(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("sites: [")
    with pytest.raises(InvalidInputError, match=r"'.*bad.yaml' cannot be read"):
        load_topology(tmp_path / "bad.yaml")
