"""What a Spark application needs to run: its description, its environment, its configuration, and its errors."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_dataflow.errors import DataflowError, JobFailedError, MissingPackageError, TerminalError
from airflow_dataflow.training.child import ending_with_this_process
from airflow_dataflow.training.java import find_java_home

log = logging.getLogger(__name__)

_JOB = "job.json"
_RESULT = "result.json"
_ERROR = "error.json"
# Native libraries of the machine would give other sums than Java's own, and maybe not the same ones twice.
_REPEATABLE = tuple(f"-Ddev.ludovic.netlib.{library}.allowNative=false" for library in ("blas", "lapack", "arpack"))
# Up to here the optimising compiler costs more time than it saves; it took a third of all CPU time.
_FEW_ROWS = 50_000
_QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
# As fast on two cores as Java's default, with two thirds of its memory.
_SMALL_COLLECTOR = "-XX:+UseSerialGC"
_LOOPBACK = "127.0.0.1"
# What the driver says at each start; no data frame of pandas is made there.
_PANDAS_WARNING = "ignore:PySpark does not yet fully support pandas:FutureWarning"
_LOGGING = Path(__file__).with_name("log4j2.properties")
_LAST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A packaged Spark application and the folder that it works in."""

    application: Path
    """Python file that ``spark-submit`` runs, with the path of the job file as its only argument."""
    name: str
    """Name that Spark shows."""
    folder: Path
    """Folder of its own: the job file, the inputs, the outputs and all that Spark leaves lying about."""
    rows: int = 0
    """About how many rows it reads."""

    @property
    def scratch(self) -> Path:
        """Folder for all that Spark and Java leave lying about."""
        path = self.folder / "scratch"
        path.mkdir(exist_ok=True)
        return path

    @property
    def arguments(self) -> list[str]:
        """What the application is called with."""
        return [str(self.folder / _JOB)]

    def write(self, job: Mapping[str, Any]) -> None:
        """Write the job file."""
        (self.folder / _JOB).write_text(json.dumps(job, indent=1), encoding="utf-8")

    def result(self) -> dict[str, Any]:
        """Return what the application says of its work.

        :raises JobFailedError: when it says nothing.
        """
        try:
            content: dict[str, Any] = json.loads((self.folder / _RESULT).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise JobFailedError(f"Spark application {self.name!r} ended without a result; see its log") from error
        return content

    def failure(self, output: str, exit_code: int | None) -> DataflowError:
        """Return the error to raise when the application has failed.

        :param output: the last lines that it has printed.
        :param exit_code: how it ended, ``None`` when that is not known.
        """
        lines = f"; its last lines:\n{output}" if output else ""
        try:
            cause = json.loads((self.folder / _ERROR).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return JobFailedError(f"Spark application {self.name!r} died ({_explain(exit_code)}){lines}")
        kind = TerminalError if cause["terminal"] else JobFailedError
        return kind(f"Spark application {self.name!r} failed: {cause['message']}{lines}")


def _explain(exit_code: int | None) -> str:
    if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "killed, by a person or for want of memory on this machine"
    return "for an unknown reason" if exit_code is None else f"exit code {exit_code}"


RunJob = Callable[[JobSpec], None]
"""Runs an application to its end and raises :meth:`JobSpec.failure` when it fails."""


def find_spark_home() -> Path:
    """Return the folder of Spark: ``SPARK_HOME``, or the Python package ``pyspark``.

    :raises MissingPackageError: when there is none.
    """
    if home := os.environ.get("SPARK_HOME"):
        return Path(home)
    package = importlib.util.find_spec("pyspark")
    for place in (package.submodule_search_locations or []) if package else []:
        # The package pyspark-client has the same name, but no Spark in it.
        if Path(place, "bin", "spark-submit").exists() and Path(place, "jars").is_dir():
            return Path(place)
    raise MissingPackageError(
        "there is no Spark on this machine: run pip install 'airflow-dataflow[spark]', or set SPARK_HOME"
    )


def spark_environment(spec: JobSpec, master: str) -> dict[str, str]:
    """Return this process's environment with all that ``spark-submit`` looks for.

    :param master: URL of the master, e.g. ``local[*]`` or ``spark://host:7077``.
    :raises MissingPackageError: when Java or Spark is missing.
    """
    java, spark = find_java_home(), find_spark_home()
    path = os.pathsep.join([str(spark / "bin"), str(java / "bin"), os.environ.get("PATH") or os.defpath])
    environment = {
        **os.environ,
        "JAVA_HOME": str(java),
        "SPARK_HOME": str(spark),
        "PATH": path,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), _PANDAS_WARNING))),
        "SPARK_LOCAL_DIRS": str(spec.scratch),
    }
    if _is_local(master):
        environment["SPARK_LOCAL_IP"] = _LOOPBACK
    return environment


def spark_conf(spec: JobSpec, master: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return the Spark properties of a job: few words in the log, nothing left outside of its folder, sums that repeat.

    :param master: URL of the master.
    :param own: properties that override all others.
    """
    options = [f'"-Djava.io.tmpdir={spec.scratch}"', f'"-Dlog4j2.configurationFile={_LOGGING}"', *_REPEATABLE]
    if spec.rows <= _FEW_ROWS:
        options.append(_QUICK_COMPILER)
    if "GC" not in own.get("spark.driver.extraJavaOptions", ""):
        options.append(_SMALL_COLLECTOR)
    conf = {
        "spark.driver.defaultJavaOptions": " ".join(options),
        "spark.executor.defaultJavaOptions": " ".join(_REPEATABLE),
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(spec.scratch / "warehouse"),
    }
    if _is_local(master):
        conf |= {
            "spark.ui.enabled": "false",
            "spark.driver.host": _LOOPBACK,
            "spark.driver.bindAddress": _LOOPBACK,
        }
    return conf | dict(own)


def _is_local(master: str) -> bool:
    return master.startswith("local")


def submit_job(spec: JobSpec, *, master: str = "local[*]", driver_memory: str = "2g") -> None:
    """Run an application by ``spark-submit`` and wait for its end; without Airflow.

    :param master: URL of the master.
    :param driver_memory: memory of the driver, e.g. ``2g``.
    :raises MissingPackageError: when Java or Spark is missing.
    :raises TerminalError: when the application has failed and a retry would end the same way.
    :raises JobFailedError: when it has failed otherwise.
    """
    options = ["--master", master, "--name", spec.name, "--driver-memory", driver_memory]
    for key, value in spark_conf(spec, master, {}).items():
        options += ["--conf", f"{key}={value}"]
    environment = spark_environment(spec, master)
    command = [str(Path(environment["SPARK_HOME"], "bin", "spark-submit")), *options]
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        ending_with_this_process([*command, str(spec.application), *spec.arguments]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd=spec.folder,
    ) as process:
        try:
            for line in process.stdout or ():
                log.info("%s", line.rstrip())
                lines.append(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise spec.failure("\n".join(lines), process.returncode)
