"""How much memory a process has taken."""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes.

    ``getrusage`` would count that of the process which started this one, too: it survives exec.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kibibytes) << 10
