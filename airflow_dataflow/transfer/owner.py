"""Names of processes, by which others on the same machine find out whether they are still alive."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_START_FIELD = 19
"""Place of the time of start among what follows the name of a process in ``/proc/<pid>/stat``, see proc(5)."""


def new_owner() -> str:
    """Return a name for what this process begins now; no other process and no later call gets the same."""
    return ":".join((_machine() or "-", str(os.getpid()), _start(os.getpid()) or "-", secrets.token_hex(8)))


def is_gone(owner: str) -> bool | None:
    """Tell whether the process of an owner has ended.

    :param owner: what :func:`new_owner` returned there.
    :returns: ``None`` when it runs on another machine, or nobody can know.
    """
    machine, pid, start, _ = (owner.split(":") + ["-"] * 4)[:4]
    if machine == "-" or machine != _machine() or start == "-" or not pid.isdigit():
        return None
    # Numbers of processes are used again; together with the time of start they are not.
    return _start(int(pid)) != start


def _machine() -> str | None:
    """Return what is equal exactly where two processes see the same numbers of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in ("Z", "X") else fields[_START_FIELD]
