"""What ``run_demo`` finds out before it starts anything."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from airflow_dataflow.demo import run
from airflow_dataflow.demo.options import DemoOptions
from airflow_dataflow.demo.run import DAG_ID, dags_folder, run_demo
from airflow_dataflow.errors import InvalidInputError, MissingPackageError, NotFoundError


def test_the_dag_lies_beside_the_package() -> None:
    assert (dags_folder() / f"{DAG_ID}.py").is_file()


def test_a_file_that_does_not_exist_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        run_demo(DemoOptions(home=tmp_path / "home", input=tmp_path / "nothing.csv", text="a", label="b"))
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["find_java_home", "find_spark_home"])
def test_a_missing_java_or_spark_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def missing() -> None:
        raise MissingPackageError("there is none on this machine")

    monkeypatch.setattr(run, name, missing)
    with pytest.raises(MissingPackageError, match="none on this machine"):
        run_demo(DemoOptions(home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_a_missing_s3_server_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> object:
        return None if name == "moto" else importlib.util.find_spec(name)

    monkeypatch.setattr(run, "find_spec", find_spec)
    with pytest.raises(MissingPackageError, match=r"pip install 'airflow-dataflow\[demo\]'"):
        run_demo(DemoOptions(home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_a_machine_that_cannot_have_hdfs_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingPackageError("no Hadoop on this machine")

    monkeypatch.setattr(run, "check_hdfs", missing)
    with pytest.raises(MissingPackageError, match="no Hadoop"):
        run_demo(DemoOptions(home=tmp_path / "home", tiers="hdfs"))
    assert not (tmp_path / "home").exists()


def test_unknown_tiers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no tiers 'hfds'; did you mean 'hdfs'"):
        DemoOptions(tiers="hfds")  # type: ignore[arg-type]


def test_a_home_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="--home"):
        run_demo(DemoOptions(home=tmp_path))
