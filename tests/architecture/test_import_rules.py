"""The import rules of ``make check`` fire: each offending file makes ruff fail, with the rule and the file's name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = (
    "databases",
    "datasets",
    "storage",
    "transfer",
    "engines",
    "ingest",
    "cleaning",
    "features",
    "training",
    "demo",
)
START_UP = ("operators", "sensors", "hooks", "triggers", "filesystems", "cli")
ADAPTER_IMPORTS = {
    "at the top": "import airflow\n\nVALUE = airflow\n",
    "of a part": "from airflow.sdk import BaseOperator\n\nVALUE = BaseOperator\n",
    "of a provider": "from airflow.providers.common.compat.sdk import BaseHook\n\nVALUE = BaseHook\n",
    "in a function": "\ndef value() -> object:\n    from airflow.sdk import BaseHook\n\n    return BaseHook\n",
    "for types only": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from airflow.sdk import Context\n\n"
        "VALUE: list[Context] = []\n"
    ),
    "of an adapter": "from airflow_dataflow.hooks import dataflow\n\nVALUE = dataflow\n",
}
HEAVY = (
    "pandas",
    "polars",
    "pyarrow",
    "pyspark",
    "torch",
    "numpy",
    "boto3",
    "botocore",
    "s3fs",
    "fsspec",
    "sqlalchemy",
    "alembic",
    "airflow.providers.amazon",
    "airflow.providers.apache.spark",
    "airflow.providers.common.io",
    "airflow.providers.common.sql",
)


HARMLESS = '\ndef frame() -> object:\n    """Return a frame."""\n    import pandas as pd\n\n    return pd.DataFrame()\n'
HEADER = '"""A file that may break a rule."""\n\nfrom __future__ import annotations\n\n'


def file_name(*words: str) -> str:
    """Return a file name made of words."""
    return "_".join(word.replace(" ", "_").replace(".", "_") for word in words) + ".py"


def offenders() -> dict[str, str]:
    """Return the files that break rules, and harmless ones beside them, by path below the package."""
    files = {f"{folder}/{file_name(how)}": code for folder in LIBRARY for how, code in ADAPTER_IMPORTS.items()}
    files |= {f"cli/{file_name(how)}": code for how, code in ADAPTER_IMPORTS.items()}
    files |= {file_name(how): code for how, code in ADAPTER_IMPORTS.items()}
    for folder in START_UP:
        files |= {f"{folder}/{file_name(name)}": f"import {name} as heavy\n\nVALUE = heavy\n" for name in HEAVY}
        files[f"{folder}/harmless.py"] = HARMLESS
    return files


@pytest.fixture(scope="module")
def findings(package: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what ruff, as ``make check`` runs it, says of each file of a copy of the package with the offenders."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(package, root / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", root)
    for path, code in offenders().items():
        (root / package.name / path).write_text(HEADER + code)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", "."]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    found: dict[str, str] = {}
    for finding in json.loads(result.stdout):
        path = Path(finding["filename"]).relative_to(root / package.name).as_posix()
        found[path] = f"{found.get(path, '')} {finding['code']}"
    return found


def test_the_package_itself_breaks_no_import_rule(findings: dict[str, str]) -> None:
    assert [path for path, codes in findings.items() if "TID" in codes and path not in offenders()] == []


@pytest.mark.parametrize("folder", [*LIBRARY, "cli", ""])
@pytest.mark.parametrize("how", ADAPTER_IMPORTS)
def test_a_library_file_that_imports_airflow_fails_the_check(findings: dict[str, str], folder: str, how: str) -> None:
    assert "TID251" in findings[f"{folder}/{file_name(how)}".lstrip("/")]


@pytest.mark.parametrize("folder", START_UP)
@pytest.mark.parametrize("module", HEAVY)
def test_a_file_that_airflow_loads_and_that_imports_a_heavy_package_at_the_top_fails_the_check(
    findings: dict[str, str], folder: str, module: str
) -> None:
    assert "TID253" in findings[f"{folder}/{file_name(module)}"]


@pytest.mark.parametrize("folder", START_UP)
def test_such_a_file_may_import_a_heavy_package_in_a_function(findings: dict[str, str], folder: str) -> None:
    assert f"{folder}/harmless.py" not in findings
