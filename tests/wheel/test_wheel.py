"""The wheel holds what users need, and works where the repository is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import airflow_dataflow

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

REPOSITORY = Path(airflow_dataflow.__file__).parent.parent
PACKAGE = "airflow_dataflow"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from the source distribution of the working tree."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return a function that runs a program of another virtual environment, which has the wheel and Airflow."""
    home = tmp_path_factory.mktemp("elsewhere")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, home / "venv"], check=True)
    install = [*uv, "pip", "install", "--python", home / "venv" / "bin" / "python", "--quiet", wheel]
    install += ["--constraint", REPOSITORY / "constraints.txt"]
    # make setup has filled uv's cache; only where it fell back to pip the index is asked again.
    for more in (["--offline"], [], ["--system-certs"]):
        result = subprocess.run([*install, *more], capture_output=True, text=True, check=False)
        if not result.returncode:
            break
    else:
        reason = f"the package index cannot be used: {result.stderr[-1000:]}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "VIRTUAL"))}
    environment = {**kept, "AIRFLOW_HOME": str(home / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

    def run(program: str, *arguments: str) -> str:
        folder = home / "empty"
        folder.mkdir(exist_ok=True)
        command = [home / "venv" / "bin" / program, *arguments]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


def test_the_wheel_holds_the_package_the_example_dags_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    dags = {f"{PACKAGE}/example_dags/{path.name}" for path in (REPOSITORY / "dags").glob("*.py")}
    assert dags
    assert {f"{PACKAGE}/py.typed", f"{PACKAGE}/datasets/catalog/migrations/env.py"} <= names
    assert names == package | dags


def test_the_wheel_describes_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = archive.read(f"{folder}/METADATA").decode()
        entry_points = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert f"Version: {airflow_dataflow.__version__}" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    for group in ("apache_airflow_provider", "airflow.plugins", "console_scripts"):
        assert f"[{group}]" in entry_points


def test_airflow_lists_the_provider_and_its_commands(elsewhere: Callable[..., str]) -> None:
    assert "airflow-dataflow" in elsewhere("airflow", "providers", "list", "--output", "plain")
    assert "doctor" in elsewhere("airflow", "dataflow", "--help")


def test_the_console_script_runs(elsewhere: Callable[..., str]) -> None:
    assert elsewhere("dataflow", "--version") == f"dataflow {airflow_dataflow.__version__}\n"


def test_the_dags_import_without_the_repository(elsewhere: Callable[..., str], tmp_path: Path) -> None:
    for path in (REPOSITORY / "dags").glob("*.py"):
        shutil.copy(path, tmp_path)
    code = (
        "import json, sys, airflow_dataflow; from airflow.dag_processing.dagbag import DagBag; "
        "bag = DagBag(sys.argv[1], bundle_path=None); "
        "print(json.dumps([bag.import_errors, len(bag.dags), airflow_dataflow.__file__]))"
    )
    errors, dags, package = json.loads(elsewhere("python", "-c", code, str(tmp_path)).splitlines()[-1])
    assert errors == {}
    assert dags
    assert "site-packages" in package
