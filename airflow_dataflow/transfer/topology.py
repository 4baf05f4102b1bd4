"""Sites that hold versions, and the network between them: declared, or measured by past replications.

A topology is a YAML or JSON file, or a mapping::

    sites:
      hub: {tier: hot}                                   # a tier of the store
      fra: {url: "s3://aws_fra@datasets/published"}      # a place of its own
      ams: {url: /mnt/ams}
    links:
      - {source: hub, target: fra, bytes_per_second: 125000000, price_per_gb: 0.09}
      - {between: [fra, ams], bytes_per_second: 1250000000}          # both ways
    switches:                                            # in place of links, for networks in layers
      - {name: leaf-1, members: [a, b], bytes_per_second: 125000000}
      - {name: leaf-2, members: [c, d], bytes_per_second: 125000000}
      - {name: spine, members: [leaf-1, leaf-2], bytes_per_second: 125000000, price_per_gb: 0.01}

Without links and switches each site reaches each other one. Where no ``bytes_per_second`` is declared, the best rate
counts that replications have measured there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from airflow_dataflow.errors import InvalidInputError, NotFoundError, did_you_mean
from airflow_dataflow.registry import make
from airflow_dataflow.scheduling.network import Link, Network
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.publish import without_credentials

_KEYS = ("sites", "links", "switches")
_LONGEST_NAME = 100

Open = Callable[["Site"], Directory]
"""Opens the folder of a site that is no tier."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place that can hold versions, under ``<folder>/<dataset>/<version>/``."""

    name: str
    """Name, unique in the topology."""
    url: str | None = None
    """Folder or prefix; ``s3://connection@bucket/prefix`` names the Airflow connection that opens it."""
    tier: str | None = None
    """In place of the URL: name of a tier of the store."""
    conn_id: str | None = None
    """Airflow connection that opens ``url``; the one in the URL when ``None``."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """What fsspec needs to open ``url`` without a connection, secrets included; never printed."""
    egress_bytes_per_second: float | None = None
    """Most bytes that the site can send in a second, over all its links; as many as its best link when ``None``."""

    def __post_init__(self) -> None:
        if (self.url is None) == (self.tier is None):
            found = "neither" if self.url is None else "both"
            raise InvalidInputError(f"site {self.name!r} has {found} of 'url' and 'tier', of which one is needed")
        if not 0 < len(self.name) <= _LONGEST_NAME:
            raise InvalidInputError(f"the name of site {self.name!r} has to have 1 to {_LONGEST_NAME} characters")
        if self.egress_bytes_per_second is not None and not self.egress_bytes_per_second > 0:
            raise InvalidInputError(f"site {self.name!r} sends nothing: egress_bytes_per_second has to be more than 0")

    def url_of(self, dataset: str, version: str) -> str:
        """Return the URL of a version's folder here, with the connection that opens it, for a site that is no tier."""
        scheme, separator, rest = str(self.url).rstrip("/").partition("://")
        if separator and self.conn_id:
            host, slash, path = rest.partition("/")
            rest = f"{self.conn_id}@{host.rpartition('@')[2]}{slash}{path}"
        return f"{scheme}{separator}{rest}/{dataset}/{version}"


@dataclass(frozen=True, kw_only=True)
class _Declared:
    source: str | None = None
    target: str | None = None
    between: tuple[str, str] | None = None
    bytes_per_second: float = math.inf
    price_per_gb: float = 0.0

    def links(self) -> Iterator[Link]:
        if (self.between is None) != (self.source is not None and self.target is not None):
            raise InvalidInputError("a link has either 'source' and 'target', or 'between' with two sites")
        ends = [(self.source, self.target)] if self.between is None else [self.between, self.between[::-1]]
        for source, target in ends:
            yield Link(
                source=str(source),
                target=str(target),
                bytes_per_second=self.bytes_per_second,
                price_per_gb=self.price_per_gb,
            )


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What joins sites or other switches; each member has one way to it, with the same capacity up and down."""

    name: str
    """Name, unlike any site's."""
    members: tuple[str, ...]
    """Names of sites and switches below it; each has one switch above it at most."""
    bytes_per_second: float = math.inf
    """Most bytes per second between the switch and each member, in each direction."""
    price_per_gb: float = 0.0
    """Price of 10^9 bytes between the switch and a member."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Sites and the network between them; see :func:`load_topology`."""

    sites: Mapping[str, Site]
    """The sites by name."""
    links: tuple[Link, ...] = ()
    """Links between two sites, each in one direction."""
    switches: tuple[Switch, ...] = ()
    """Switches of a network in layers."""

    def __post_init__(self) -> None:
        for link in self.links:
            self.site(link.source)
            self.site(link.target)
        above = self._above()
        for switch in self.switches:
            path = [switch.name]
            while (name := path[-1]) in above:
                path.append(above[name].name)
                if path[-1] in path[:-1]:
                    raise InvalidInputError(f"switches form a circle: {' - '.join(path)}")

    def site(self, name: str) -> Site:
        """Return the site of that name.

        :raises InvalidInputError: when there is none.
        """
        if name not in self.sites:
            raise InvalidInputError(f"no site named {name!r}{did_you_mean(name, self.sites)}")
        return self.sites[name]

    def _above(self) -> dict[str, Switch]:
        known = {*self.sites, *(switch.name for switch in self.switches)}
        if len(known) < len(self.sites) + len(self.switches):
            raise InvalidInputError("the names of sites and switches must differ")
        above: dict[str, Switch] = {}
        for switch in self.switches:
            for member in switch.members:
                if member not in known:
                    raise InvalidInputError(
                        f"switch {switch.name!r} has an unknown member {member!r}{did_you_mean(member, known)}"
                    )
                if member in above:
                    raise InvalidInputError(f"{member!r} is below two switches, {above[member].name} and {switch.name}")
                above[member] = switch
        return above

    def network(self, measured: Mapping[tuple[str, str], float] | None = None) -> Network:
        """Return the network as numbers.

        :param measured: bytes per second by source and target, for links of which none are declared.
        """
        measured = {pair: rate for pair, rate in (measured or {}).items() if set(pair) <= set(self.sites)}
        links, capacities = self._through_switches()
        links |= {(link.source, link.target): link for link in self.links}
        if not self.links and not self.switches:
            links = {pair: Link(source=pair[0], target=pair[1]) for pair in permutations(sorted(self.sites), 2)}
        known = [
            Link(
                source=link.source,
                target=link.target,
                # Others may have shared the link when it was measured: who declares a rate knows better.
                bytes_per_second=measured.get(pair, math.inf)
                if math.isinf(link.bytes_per_second)
                else link.bytes_per_second,
                price_per_gb=link.price_per_gb,
                shared=link.shared,
            )
            for pair, link in links.items()
        ]
        egress = {site.name: site.egress_bytes_per_second for site in self.sites.values()}
        return Network(
            known,
            capacities=capacities,
            egress={name: rate for name, rate in egress.items() if rate is not None},
            sites=self.sites,
        )

    def _through_switches(self) -> tuple[dict[tuple[str, str], Link], dict[str, float]]:
        above = self._above()
        capacities = {
            name: switch.bytes_per_second
            for member, switch in above.items()
            for name in (_up(member, switch), _down(member, switch))
        }
        found = {}
        for source, target in permutations(sorted(self.sites), 2):
            up, down = _climb(source, above), _climb(target, above)
            common = {switch.name for _, switch in up} & {switch.name for _, switch in down}
            if not common:
                continue
            up, down = _until(common, up), _until(common, down)
            found[source, target] = Link(
                source=source,
                target=target,
                bytes_per_second=min(switch.bytes_per_second for _, switch in [*up, *down]),
                price_per_gb=math.fsum(switch.price_per_gb for _, switch in [*up, *down]),
                shared=(*(_up(*way) for way in up), *(_down(*way) for way in down)),
            )
        return found, capacities


def _up(member: str, switch: Switch) -> str:
    return f"the way from {member} up to {switch.name}"


def _down(member: str, switch: Switch) -> str:
    return f"the way from {switch.name} down to {member}"


def _climb(name: str, above: Mapping[str, Switch]) -> list[tuple[str, Switch]]:
    ways = []
    while name in above:
        ways.append((name, above[name]))
        name = above[name].name
    return ways


def _until(common: set[str], ways: list[tuple[str, Switch]]) -> list[tuple[str, Switch]]:
    """Return the ways up to the first switch that both ends have above them."""
    first = next(place for place, (_, switch) in enumerate(ways) if switch.name in common)
    return ways[: first + 1]


def load_topology(source: str | Path | Mapping[str, Any]) -> Topology:
    """Read a topology.

    :param source: path of a YAML or JSON file, YAML or JSON text of a mapping, or the mapping itself.
    :raises NotFoundError: when the file does not exist.
    :raises InvalidInputError: when it is no topology; unknown keys come with a spelling hint.
    """
    content = source if isinstance(source, Mapping) else _read(source)
    if not isinstance(content, Mapping):
        raise InvalidInputError(f"a topology is a mapping with the key 'sites', got {content!r:.80}")
    for key in content:
        if key not in _KEYS:
            raise InvalidInputError(f"the topology has an unknown key {key!r}{did_you_mean(str(key), _KEYS)}")
    sites = content.get("sites")
    if not isinstance(sites, Mapping) or not sites:
        raise InvalidInputError("the topology has no 'sites', such as {hub: {tier: hot}, fra: {url: s3://bucket/fra}}")
    links = [make(_Declared, f"link {number}", item) for number, item in _items(content, "links")]
    return Topology(
        sites={
            str(name): make(Site, f"site {name!r}", {"name": str(name), **_mapping(f"site {name!r}", item)})
            for name, item in sites.items()
        },
        links=tuple(link for declared in links for link in declared.links()),
        switches=tuple(make(Switch, f"switch {number}", item) for number, item in _items(content, "switches")),
    )


def _read(source: str | Path) -> Any:
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return _parse("the topology", source)
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"no topology file {str(path)!r}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"topology file {str(path)!r} cannot be read: {error}") from error
    return _parse(f"topology file {str(path)!r}", text)


def _parse(where: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{where} cannot be read: {error}") from error


def _items(content: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    items = content.get(key) or []
    if not isinstance(items, list | tuple):
        raise InvalidInputError(f"{key!r} of the topology is not a list")
    return [(number, _named(_mapping(f"item {number} of {key!r}", item))) for number, item in enumerate(items, start=1)]


def _named(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item in which names are text: YAML reads the name 1 as a number."""
    named = dict(item)
    for key in ("name", "source", "target"):
        if isinstance(named.get(key), int):
            named[key] = str(named[key])
    for key in ("between", "members"):
        if isinstance(named.get(key), list | tuple):
            named[key] = [str(name) if isinstance(name, int) else name for name in named[key]]
    return named


def _mapping(what: str, item: Any) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidInputError(f"{what} of the topology is not a mapping with names and values")
    return item


def open_site(store: Store, site: Site, open_url: Open | None = None) -> Directory:
    """Return the folder of a site.

    :param store: whose tiers may be sites.
    :param open_url: opens a site that is no tier, with its connection; by ``url`` and ``storage_options`` alone when
        ``None``.
    """
    if site.tier is not None:
        return store.tier(site.tier).directory
    if open_url is not None:
        return open_url(site)
    return Directory.from_url(without_credentials(str(site.url)), site.storage_options)
