"""Links of a known rate: a network namespace behind a pair of virtual interfaces, shaped by a token bucket filter."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_BURST = "128kb"
_LATENCY = "200ms"


@dataclass(frozen=True)
class Link:
    """One namespace, and the addresses of both ends of its link."""

    namespace: str
    """Name of the namespace; run servers there by :meth:`command`."""
    near: str
    """Address on this side."""
    far: str
    """Address in the namespace."""

    def command(self, *words: str) -> list[str]:
        """Return a command that runs ``words`` in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *words]


def why_no_links() -> str | None:
    """Return why this process cannot make links, ``None`` when it can."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "links need the commands ip and tc (Debian package iproute2)"
    return None if os.geteuid() == 0 else "links need root"


@contextmanager
def shaped_link(megabits: float | None, *, number: int = 0) -> Iterator[Link]:
    """Make a namespace whose link takes so many megabits per second in each direction, and remove it in the end.

    :param megabits: the rate; as fast as the kernel when ``None``.
    :param number: tells links of one process apart, from 0 to 63.
    """
    name = f"df{os.getpid() % 100000}n{number}"
    network = f"10.{200 + os.getpid() % 50}.{number * 4 // 256}"
    near, far = f"{network}.{number * 4 + 1}", f"{network}.{number * 4 + 2}"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        _run("ip", "addr", "add", f"{near}/30", "dev", f"{name}a")
        _run("ip", "link", "set", f"{name}a", "up")
        inside = ("ip", "netns", "exec", name)
        _run(*inside, "ip", "addr", "add", f"{far}/30", "dev", f"{name}b")
        _run(*inside, "ip", "link", "set", f"{name}b", "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        if megabits is not None:
            shape = ("tbf", "rate", f"{megabits}mbit", "burst", _BURST, "latency", _LATENCY)
            _run("tc", "qdisc", "add", "dev", f"{name}a", "root", *shape)
            _run(*inside, "tc", "qdisc", "add", "dev", f"{name}b", "root", *shape)
        yield Link(name, near, far)
    finally:
        with suppress(subprocess.CalledProcessError):
            _run("ip", "netns", "del", name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
