"""Make or update the virtual environment .venv; `make setup` runs it with any Python 3.11 or later.

Arguments are more extras of pyproject.toml to install, e.g. `all` for the tests.
It needs nothing but the standard library. A stamp in the environment for each extra, keyed by all that decides its
content, lets the next call return at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
BASE = "dev"
"""The extra that every environment has: what the demo, the checks and the tests themselves need."""
WITH_KERBEROS = {"hdfs", "all"}
"""Extras with a package that is compiled against the Kerberos library while it is installed."""


class SetUpError(Exception):
    """Something that a person has to do first; the message says what."""


def key() -> str:
    """Return a digest of everything that decides what the environment holds."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)):
        digest.update(path.read_bytes())
    digest.update(str(ROOT).encode())  # an editable install knows its folder
    return digest.hexdigest()


def stamp(extra: str) -> Path:
    """Return the file that tells for which key an extra was installed."""
    return ENVIRONMENT / f".set-up-{extra}"


def is_current(extra: str) -> bool:
    """Tell whether an extra is installed as it is now described."""
    return PYTHON.exists() and stamp(extra).exists() and stamp(extra).read_text() == key()


def check_extras(extras: Collection[str]) -> None:
    """Refuse extras that pyproject.toml does not have; pip would only warn."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in extras:
        if extra not in known:
            raise SetUpError(f"there is no extra {extra!r}; there are {', '.join(sorted(known))}")


def run(*command: str | Path) -> bool:
    """Run a command with its output visible and tell whether it succeeded."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode == 0


def succeeds(python: str | Path, code: str) -> bool:
    """Tell whether ``python`` runs ``code`` without an error."""
    return subprocess.run([str(python), "-c", code], check=False, capture_output=True).returncode == 0


def install(*requirements: str) -> None:
    """Install requirements at the pinned versions: with uv, which takes seconds, else with pip, which takes minutes.

    uv trusts its own certificates, or those of the machine; pip knows indexes and proxies from places that uv does
    not read.
    """
    pins = ("--constraint", CONSTRAINTS)
    with_pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins)
    if not run(*with_pip, "uv"):
        raise SetUpError("pip cannot install from the package index; its message above says why")
    with_uv = (PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--build-constraints", CONSTRAINTS, *pins)
    for number, command in enumerate((with_uv, (*with_uv, "--system-certs"), with_pip)):
        if number:
            print("that did not work; trying another way", file=sys.stderr)
        if run(*command, *requirements):
            return
    raise SetUpError("the packages cannot be installed; the messages above say why")


def make_environment() -> None:
    """Make an empty virtual environment; Debian needs a package for that, which root gets installed."""
    if not succeeds(sys.executable, "import ensurepip"):
        install_debian_packages("Python's venv module is missing", f"python3.{sys.version_info.minor}-venv")
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    if not run(sys.executable, "-m", "venv", ENVIRONMENT):
        raise SetUpError(f"{sys.executable} -m venv failed; its message above says why")


def install_debian_packages(why: str, *packages: str) -> None:
    """Install packages of the distribution as root, or say which command does it."""
    command = f"apt-get install -y {' '.join(packages)}"
    if os.geteuid() or not shutil.which("apt-get"):
        raise SetUpError(f"{why}; as root, run: {command}")
    print(f"{why}; running: {command}", file=sys.stderr)
    if not (run("apt-get", "update", "-q") and run("apt-get", "install", "-q", "-y", *packages)):
        raise SetUpError(f"{why}, and apt-get cannot install it; its message above says why")


def install_kerberos_headers() -> None:
    """Install what the HDFS provider's Kerberos library is compiled with, unless it is there."""
    missing = [package for package, tool in (("libkrb5-dev", "krb5-config"), ("gcc", "gcc")) if not shutil.which(tool)]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append(f"python3.{sys.version_info.minor}-dev")
    if missing:
        install_debian_packages("the HDFS provider's Kerberos library is compiled while it is installed", *missing)


def set_up(extras: Sequence[str]) -> None:
    """Bring the environment up to date unless its stamps say that it is."""
    check_extras(extras)
    outdated = [extra for extra in dict.fromkeys((BASE, *extras)) if not is_current(extra)]
    if not outdated:
        return
    print(f"setting up .venv: {', '.join(outdated)} (about two minutes the first time)", file=sys.stderr)
    if WITH_KERBEROS.intersection(outdated):
        install_kerberos_headers()
    if not (
        PYTHON.exists() and succeeds(PYTHON, f"import pip, sys; assert sys.version_info[:2] == {sys.version_info[:2]}")
    ):
        make_environment()
    for extra in outdated:
        stamp(extra).unlink(missing_ok=True)
    install("--editable", f".[{','.join(outdated)}]")
    if not (ENVIRONMENT / "bin" / "spark-submit").exists():
        # pyspark-client, which the Spark provider needs, is the Python half of pyspark in the same folder: removing or
        # updating one takes files of the other away.
        install("--force-reinstall", "--no-deps", "pyspark")
    for extra in outdated:
        stamp(extra).write_text(key())


def main(extras: Sequence[str]) -> int:
    """Set up the environment with these extras."""
    try:
        set_up(extras)
    except SetUpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
