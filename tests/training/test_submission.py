"""Running applications by spark-submit: what they get, how they fail, and that they end with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from airflow_dataflow.errors import JobFailedError, MissingPackageError, TerminalError
from airflow_dataflow.training.submission import (
    JobSpec,
    find_spark_home,
    spark_conf,
    spark_environment,
    submit_job,
)
from tests.training.versions import contents, make_features, tables

WAIT_SECONDS = 90

FAILING = """
from airflow_dataflow.training.jobs._application import main
def run(spark, job, folder):
    print("about to", job["do"])
    exec(job["do"])
main(run)
"""


@pytest.fixture
def spec(tmp_path):
    """Return the description of an application that does what its job file says."""
    application = tmp_path / "application.py"
    application.write_text(FAILING)
    folder = tmp_path / "work folder"
    folder.mkdir()
    return JobSpec(application=application, name="a test", folder=folder)


def test_a_local_job_leaves_nothing_outside_of_its_folder_and_listens_on_loopback(spec):
    conf = spark_conf(spec, "local[*]", {})
    assert conf["spark.driver.bindAddress"] == conf["spark.driver.host"] == "127.0.0.1"
    assert conf["spark.ui.enabled"] == "false"
    assert conf["spark.sql.warehouse.dir"].startswith(str(spec.folder))
    environment = spark_environment(spec, "local[*]")
    assert environment["SPARK_LOCAL_DIRS"].startswith(str(spec.folder))
    assert environment["PYSPARK_PYTHON"] == sys.executable
    assert Path(environment["JAVA_HOME"], "bin", "java").exists()
    assert environment["PATH"].startswith(f"{environment['SPARK_HOME']}/bin{os.pathsep}")


def test_a_job_on_a_cluster_can_be_reached_from_there(spec):
    assert "spark.driver.bindAddress" not in spark_conf(spec, "spark://master:7077", {})
    assert "SPARK_LOCAL_IP" not in spark_environment(spec, "spark://master:7077")


def test_own_properties_come_last_and_choose_the_garbage_collector(spec):
    own = {"spark.ui.enabled": "true", "spark.driver.extraJavaOptions": "-XX:+UseG1GC"}
    conf = spark_conf(spec, "local[2]", own)
    assert conf.items() >= own.items()
    assert "GC" not in conf["spark.driver.defaultJavaOptions"]
    assert "GC" in spark_conf(spec, "local[2]", {})["spark.driver.defaultJavaOptions"]


def test_java_compiles_less_for_few_rows(spec):
    options = "spark.driver.defaultJavaOptions"
    assert "TieredStopAtLevel=1" in spark_conf(spec, "local[2]", {})[options]
    many = replace(spec, rows=1_000_000)
    assert "TieredStopAtLevel" not in spark_conf(many, "local[2]", {})[options]


def test_a_spark_that_somebody_has_set_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert find_spark_home() == tmp_path


def test_a_client_without_spark_is_no_spark(monkeypatch, tmp_path):
    monkeypatch.delenv("SPARK_HOME", raising=False)
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    with pytest.raises(MissingPackageError, match=r"pip install 'airflow-dataflow\[spark\]'"):
        find_spark_home()


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(-9, "for want of memory"), (137, "for want of memory"), (1, "exit code 1"), (None, "unknown reason")],
)
def test_an_application_that_says_nothing_may_do_better_next_time(spec, exit_code, words):
    error = spec.failure("the last line", exit_code)
    assert isinstance(error, JobFailedError)
    assert words in str(error)
    assert str(error).endswith("its last lines:\nthe last line")


@pytest.mark.parametrize(("terminal", "kind"), [(True, TerminalError), (False, JobFailedError)])
def test_what_an_application_says_decides_about_a_retry(spec, terminal, kind):
    (spec.folder / "error.json").write_text(json.dumps({"terminal": terminal, "message": "no space"}))
    error = spec.failure("", 1)
    assert type(error) is kind
    assert str(error) == "Spark application 'a test' failed: no space"


@pytest.mark.spark
def test_a_process_of_its_own_trains_the_same_model_byte_by_byte(store, train, monkeypatch, tmp_path, capfd):
    make_features(store, tables())
    first = contents(store, train())
    folder = store.directory(store.manifest("support/model"))
    store.catalog.remove("support/model", folder.root.rpartition("/")[2])
    folder.remove_all()
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    capfd.readouterr()
    second = contents(store, train(run_job=submit_job))
    assert second == first
    assert set(tmp_path.iterdir()) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.spark
@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [
        (
            "from airflow_dataflow.errors import InvalidInputError; raise InvalidInputError('a wrong thing')",
            TerminalError,
            r"failed: InvalidInputError: a wrong thing; its last lines:\n(.*\n)*about to",
        ),
        ("spark._jvm.java.lang.Runtime.getRuntime().halt(3)", JobFailedError, r"died \(exit code 3\)"),
    ],
    ids=["error", "crash"],
)
def test_the_error_of_a_failed_application_has_its_cause_and_its_last_lines(spec, do, kind, message):
    spec.write({"do": do})
    with pytest.raises(kind, match=message) as raised:
        submit_job(spec)
    assert type(raised.value) is kind


@pytest.mark.spark
def test_an_application_ends_with_its_parent_even_when_that_is_killed(spec):
    spec.write({"do": "import os, time; (folder / 'pid').write_text(f'{os.getpid()} {os.getppid()}'); time.sleep(600)"})
    submit = (
        "import sys; from pathlib import Path; from airflow_dataflow.training.submission import JobSpec, submit_job; "
        "submit_job(JobSpec(application=Path(sys.argv[1]), name='a test', folder=Path(sys.argv[2])))"
    )
    parent = subprocess.Popen([sys.executable, "-c", submit, str(spec.application), str(spec.folder)])
    started = spec.folder / "pid"
    deadline = time.monotonic() + WAIT_SECONDS
    while not started.exists() or not started.read_text():
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    python, java = (psutil.Process(int(pid)) for pid in started.read_text().split())
    assert java.ppid() == parent.pid
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs([python, java], timeout=10)
    assert alive == []
