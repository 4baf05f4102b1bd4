"""A version reaches 8 sites at least twice as fast along a tree as in a star, over a shaped leaf-spine network.

Makes nine network namespaces, three below each of three leaf switches, which a spine joins; every link is shaped by tbf
in both directions. Each site keeps its copy in a folder of its own and serves it by HTTP. One process per site, inside
its namespace, runs its part of ``dataflow replicate --at``: it reads from the site above it over the network, and every
file is read back and compared with the manifest. The same is done twice: along the tree that the planner chooses, and
along a topology that knows no links but those from the source. Prints seconds and what the plans had foretold. Exits 1
when the tree is less than twice as fast. Needs root, ``ip`` and ``tc``; without them it says so and ends.

    python -m benchmarks.replicate_tree [--mib 128] [--mbit 128]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import verify_all
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.replicate import ReplicationOptions, plan_for, replicate
from airflow_dataflow.transfer.topology import load_topology

LEAVES, SITES_PER_LEAF = 3, 3
SITES = [f"s{number}" for number in range(LEAVES * SITES_PER_LEAF)]
SOURCE, TARGETS = SITES[0], SITES[1:]
PORT = 8080
MEMORY = Path("/dev/shm")
LEAST_RATIO = 2.0
WAIT_SECONDS = 900


# the network ----------------------------------------------------------------------------------


def run(*words: str) -> None:
    """Run a command, and end with what it says when it fails."""
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


class Fabric:
    """Namespaces of sites, and one in which the switches are.

    :param bits_per_second: what each link carries in each direction.
    """

    def __init__(self, bits_per_second: int) -> None:
        self._bits_per_second = bits_per_second
        self._name = f"df{os.getpid()}"

    def namespace(self, site: str) -> str:
        """Return the name of a site's namespace."""
        return f"{self._name}-{site}"

    @staticmethod
    def address(site: str) -> str:
        """Return the address of a site."""
        return f"10.77.0.{10 + int(site[1:])}"

    @contextmanager
    def running(self) -> Iterator[Fabric]:
        """Make all of it, and remove it in the end."""
        made = [self.namespace(name) for name in ("fabric", *SITES)]
        try:
            for name in made:
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            self._join()
            yield self
        finally:
            for name in made:
                subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def _join(self) -> None:
        fabric = self.namespace("fabric")
        for switch in ("spine", *(f"leaf{leaf}" for leaf in range(LEAVES))):
            run("ip", "-n", fabric, "link", "add", switch, "type", "bridge")
            run("ip", "-n", fabric, "link", "set", switch, "up")
        for leaf in range(LEAVES):
            self._link((fabric, f"up{leaf}", f"leaf{leaf}"), (fabric, f"down{leaf}", "spine"))
        for number, site in enumerate(SITES):
            inside = self.namespace(site)
            self._link((fabric, f"port{number}", f"leaf{number // SITES_PER_LEAF}"), (inside, "eth0", None))
            run("ip", "-n", inside, "address", "add", f"{self.address(site)}/24", "dev", "eth0")

    def _link(self, one: tuple[str, str, str], other: tuple[str, str, str | None]) -> None:
        """Join two devices, each with its namespace and the switch that it is part of, and shape both directions."""
        run("ip", "-n", one[0], "link", "add", one[1], "type", "veth", "peer", "name", other[1], "netns", other[0])
        for namespace, device, bridge in (one, other):
            if bridge is not None:
                run("ip", "-n", namespace, "link", "set", device, "master", bridge)
            run("ip", "-n", namespace, "link", "set", device, "up")
            rate = ("rate", f"{self._bits_per_second}bit", "burst", "64kb", "latency", "100ms")
            run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", *rate)


def topology(folder: Path, at: str, bits_per_second: int, *, star: bool) -> dict[str, Any]:
    """Return the sites as one of them sees them: its own folder, and the others over the network."""
    bytes_per_second = bits_per_second / 8
    sites = {
        site: {"url": str(folder / site) if site == at else f"http://{Fabric.address(site)}:{PORT}"} for site in SITES
    }
    if star:
        links = [{"source": SOURCE, "target": site, "bytes_per_second": bytes_per_second} for site in TARGETS]
        return {"sites": sites, "links": links}
    leaves = [SITES[start : start + SITES_PER_LEAF] for start in range(0, len(SITES), SITES_PER_LEAF)]
    switches = [
        {"name": f"leaf{number}", "members": members, "bytes_per_second": bytes_per_second}
        for number, members in enumerate(leaves)
    ]
    spine = {
        "name": "spine",
        "members": [f"leaf{number}" for number in range(LEAVES)],
        "bytes_per_second": bytes_per_second,
    }
    return {"sites": sites, "switches": [*switches, spine]}


# processes of a site --------------------------------------------------------------------------


class FileHandler(BaseHTTPRequestHandler):
    """Serves files and ranges of them."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, folder: Path) -> None:
        self._folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Send a file, or a range of it."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Send the size of a file."""
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        path = self._folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start, end = 0, size
            wanted = self.headers.get("Range")
            if wanted is not None:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), min(size, int(last) + 1 if last else size)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if with_content:
                self.wfile.flush()
                while start < end:
                    start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


def serve(folder: Path, address: str) -> None:
    """Serve a site's folder until the process is ended."""
    ThreadingHTTPServer((address, PORT), partial(FileHandler, folder=folder)).serve_forever()


def store_of(folder: Path) -> Store:
    """Return the store, whose tier is the source."""
    tier = Tier(name="hot", tier_class="hot", url=str(folder / SOURCE))
    return Store([tier], Catalog(f"sqlite:///{folder}/catalog.db"))


def receive(folder: Path, at: str, reference: str, bits_per_second: int, *, star: bool) -> None:
    """Do a site's part, once somebody says go."""
    sites = load_topology(topology(folder, at, bits_per_second, star=star))
    store = store_of(folder)
    options = ReplicationOptions(source=SOURCE, at=(at,))
    plan_for(store, reference, sites, options)
    print("ready", flush=True)
    sys.stdin.readline()
    report = replicate(store, reference, sites, options=options)
    report.check()
    print(json.dumps(report.to_dict()["sites"][0]), flush=True)


# the race -------------------------------------------------------------------------------------


def make(folder: Path, mib: int) -> Manifest:
    """Make a version of one large file and a few small ones at the source."""
    with store_of(folder).draft("bench/data", at=datetime(2026, 11, 23, tzinfo=UTC), fingerprint="4f2a9c") as draft:
        with draft.create("data/large.bin") as writer:
            for _ in range(mib):
                writer.write(os.urandom(1 << 20))
        for number in range(20):
            with draft.create(f"data/small-{number}.bin") as writer:
                writer.write(os.urandom(4096))
        return draft.commit(Rows())


def race(fabric: Fabric, folder: Path, made: Manifest, bits_per_second: int, *, star: bool) -> float:
    """Return the seconds until the last site has the version, and has read it back."""
    with ExitStack() as stack:
        workers = {}
        for site in SITES:
            inside = ["ip", "netns", "exec", fabric.namespace(site), sys.executable, "-m", "benchmarks.replicate_tree"]
            common = [*inside, "--folder", str(folder), "--site", site]
            server = subprocess.Popen([*common, "--serve"])
            stack.callback(_end, server)
            if site != SOURCE:
                command = [*common, "--mbit", str(bits_per_second // 10**6), "--reference", made.reference]
                worker = subprocess.Popen(
                    [*command, "--star"] if star else command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                stack.callback(_end, worker)
                workers[site] = worker
        for site, worker in workers.items():
            assert worker.stdout is not None
            if worker.stdout.readline().strip() != "ready":
                raise SystemExit(f"the process at {site} did not start")
        began = time.perf_counter()
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for site, worker in workers.items():
            assert worker.stdout is not None
            line = worker.stdout.readline()
            if worker.wait(WAIT_SECONDS) != 0:
                raise SystemExit(f"{site} failed")
            done = json.loads(line)
            print(f"  {site} from {done['source']}: {done['seconds']:6.1f} s, {done['parts_retried']} parts retried")
        seconds = time.perf_counter() - began
    for site in TARGETS:
        verify_all(Directory.from_url(str(folder / site / made.dataset / made.version)), made.files)
        shutil.rmtree(folder / site)
    return seconds


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.wait()


def measure(mib: int, mbit: int) -> float:
    """Run the race both ways, print what happened, and return the ratio."""
    took = {}
    # Each site would have disks of its own: here memory has to do for them, where it is large enough.
    room = shutil.disk_usage(MEMORY).free if MEMORY.is_dir() else 0
    where = MEMORY if room > 2 * len(SITES) * (mib << 20) else None
    with tempfile.TemporaryDirectory(prefix="replicate-", dir=where) as name, Fabric(mbit * 10**6).running() as fabric:
        folder = Path(name)
        made = make(folder, mib)
        for way in ("star", "tree"):
            sites = load_topology(topology(folder, SOURCE, mbit * 10**6, star=way == "star"))
            plan = plan_for(store_of(folder), made.reference, sites, ReplicationOptions(source=SOURCE))[1]
            print(f"{way}: {', '.join(f'{parent}-{child}' for child, parent in plan.parents.items())}")
            took[way] = race(fabric, folder, made, mbit * 10**6, star=way == "star")
            print(f"{way}: {took[way]:.1f} s, planned {plan.figures.seconds:.1f} s")
    ratio = took["star"] / took["tree"]
    print(f"the tree is {ratio:.1f} times as fast as the star (at least {LEAST_RATIO:g} wanted)")
    return ratio


def main() -> int:
    """Run the benchmark, or a process of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=128, help="size of the version")
    parser.add_argument("--mbit", type=int, default=128, help="what each link carries, in Mbit/s")
    inside = parser.add_argument_group("for the processes that it starts itself")
    inside.add_argument("--folder", type=Path)
    inside.add_argument("--site")
    inside.add_argument("--reference")
    inside.add_argument("--serve", action="store_true")
    inside.add_argument("--star", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(options.folder / options.site, Fabric.address(options.site))
    elif options.site:
        receive(options.folder, options.site, options.reference, options.mbit * 10**6, star=options.star)
    elif os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        print("skipped: network namespaces need root, and the commands ip and tc (Debian: iproute2)")
    else:
        return 0 if measure(options.mib, options.mbit) >= LEAST_RATIO else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
