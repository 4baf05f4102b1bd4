"""A version changes tiers on one XFS or Btrfs disk in under a second, however large, since its blocks are shared.

Makes XFS, Btrfs and ext4 in images, puts a version of one file (1 GiB, or what is asked for) on the hot tier of each,
and measures the real move (``rebalance``: copy, verification, catalog, deletion) and the real copy
(``copy_version_files``, digests included: blocks that are shared need not be read again) beside ``cp --reflink=auto``
and ``shutil.copyfile`` of the same bytes in the same run, the best of three each. Needs root, loop devices and space
for twice the version on each disk; ``--kinds`` leaves disks out. Exits 1 when the copy on XFS or Btrfs takes more than
50 ms for 1 GiB and less, or than a second for more.

    python -m benchmarks.local_copy [--mib 10240] [--kinds xfs btrfs] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer.copy import copy_version_files
from airflow_dataflow.transfer.rebalance import rebalance
from tests.services.mounts import NotMountedError, mounted

MOST_SECONDS, MOST_SECONDS_OF_ANY = 0.05, 1.0
MIB = 1 << 20
DATASET = "bench/dialogs"
AT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
TRIES = 3
KINDS = ("xfs", "btrfs", "ext4")


def make(store: Store, at: datetime, mib: int) -> Manifest:
    """Make a version of one file of random bytes."""
    with store.draft(DATASET, at=at, fingerprint=f"{mib:06x}") as draft:
        with draft.create("data/0.bin") as writer:
            for _ in range(mib):
                writer.write(os.urandom(MIB))
        return draft.commit(Rows())


def best(act: Callable[[Path], object], folder: Path) -> float:
    """Return the seconds of the fastest of a few calls; each gets a new folder."""
    seconds = []
    for _ in range(TRIES):
        folder.mkdir()
        begin = time.perf_counter()
        act(folder)
        seconds.append(time.perf_counter() - begin)
        shutil.rmtree(folder)
    return min(seconds)


def measure(disk: Path, mib: int) -> dict[str, float]:
    """Return the seconds of each way of copying the version on one disk."""
    tiers = [Tier(name=name, tier_class=name, url=str(disk / name)) for name in ("hot", "cold")]
    store = Store(tiers, Catalog(f"sqlite:///{disk}/catalog.db"))
    made = make(store, AT, mib)
    make(store, AT + timedelta(days=1), 1)
    os.sync()
    begin = time.perf_counter()
    moved = rebalance(store)
    found = {"rebalance": time.perf_counter() - begin}
    if [move.bytes for move in moved] != [mib * MIB]:
        sys.exit(f"the move did something else: {moved}")
    source = store.directory(made)
    file = str(Path(source.root, made.files[0].path))

    def with_us(folder: Path) -> None:
        copy_version_files(made, source, Directory.from_url(str(folder / "version")), share=True)

    def with_cp(folder: Path) -> None:
        subprocess.run(["cp", "--reflink=auto", file, str(folder)], check=True)

    def with_python(folder: Path) -> None:
        shutil.copyfile(file, folder / "copy")

    ways = {"copy_version_files": with_us, "cp --reflink=auto": with_cp, "shutil.copyfile": with_python}
    found |= {name: best(act, disk / "out") for name, act in ways.items()}
    return found


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the version in MiB (default 1024)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="file systems (default: all)")
    parser.add_argument("--folder", type=Path, help="where the images lie (default: among the temporary files)")
    arguments = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for kind in arguments.kinds:
        try:
            with mounted(kind, (3 * arguments.mib + 512) * MIB, arguments.folder) as disk:
                found[kind] = measure(disk, arguments.mib)
        except NotMountedError as error:
            sys.exit(f"nothing measured: {error}; this benchmark mounts file systems, so run it as root")
        plain = found[kind]["shutil.copyfile"]
        for way, seconds in sorted(found[kind].items(), key=lambda item: item[1]):
            print(f"{kind:6}{way:20}{seconds * 1000:8.1f} ms  {plain / seconds:8.1f} times as fast as shutil.copyfile")
    most = MOST_SECONDS if arguments.mib <= 1024 else MOST_SECONDS_OF_ANY
    return int(any(found[kind]["copy_version_files"] >= most for kind in found if kind != "ext4"))


if __name__ == "__main__":
    sys.exit(main())
