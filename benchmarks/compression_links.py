"""Compression in flight over links of known rates, against each fixed level; needs root, ip, tc and moto.

For text and for data that does not shrink, a folder goes to an S3 server behind a shaped link with ``compress`` off,
with some fixed levels, and with ``auto``. ``auto`` is to be within 15 % of the best of them.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import Compress, TransferOptions
from tests.services.links import Link, shaped_link, why_no_links

FIXED: tuple[Compress, ...] = ("off", -5, 1, 3, 6, 9)
_PORT = 5555


def main() -> None:
    """Print a table of seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--megabits", type=float, nargs="*", default=[50, 250, 1000, 0], help="0 is unshaped")
    arguments = parser.parse_args()
    if (reason := why_no_links()) is not None:
        sys.exit(f"skipped: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            "text": _text(arguments.mebibytes << 20),
            "noise": random.Random(1).randbytes(arguments.mebibytes << 20),
        }
        for kind, data in kinds.items():
            (Path(folder) / kind).mkdir()
            (Path(folder) / kind / "data").write_bytes(data)
        for number, megabits in enumerate(arguments.megabits):
            with shaped_link(megabits or None, number=number) as link:
                server = subprocess.Popen(
                    link.command(sys.executable, "-m", "moto.server", "-H", link.far, "-p", str(_PORT)),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                try:
                    _wait(link)
                    for kind in kinds:
                        _compare(Path(folder) / kind, link, f"{megabits:g} Mbit/s" if megabits else "unshaped")
                finally:
                    server.terminate()
                    server.wait()


def _compare(source: Path, link: Link, name: str) -> None:
    seconds = {level: _seconds(source, link, level) for level in (*FIXED, "auto")}
    best = min(FIXED, key=lambda level: seconds[level])
    print(
        f"{name:>12} {source.name:>6}: best fixed {best} {seconds[best]:.2f} s, auto {seconds['auto']:.2f} s, "
        f"{seconds['auto'] / seconds[best]:.2f} times it",
        flush=True,
    )


def _seconds(source: Path, link: Link, level: Compress) -> float:
    import s3fs

    access = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": f"http://{link.far}:{_PORT}"}}
    fs = s3fs.S3FileSystem(**access)
    fs.makedirs("bench", exist_ok=True)
    target = f"bench/{source.name}{level}"
    begin = time.monotonic()
    copy_path(str(source), f"s3://{target}", target_options=access, options=TransferOptions(compress=level))
    taken = time.monotonic() - begin
    fs.rm(target, recursive=True)
    return taken


def _text(size: int) -> bytes:
    words = [random.Random(number).randbytes(3).hex() for number in range(3000)]
    some = " ".join(random.Random(2).choices(words, k=400_000)).encode()
    return (some * (size // len(some) + 1))[:size]


def _wait(link: Link) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://{link.far}:{_PORT}/moto-api/", timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the S3 server did not start")


if __name__ == "__main__":
    main()
