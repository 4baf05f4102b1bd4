"""What a fresh process loads: the library without Airflow, and Airflow's adapters without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = ("databases", "datasets", "storage", "transfer", "engines", "ingest", "cleaning", "features", "training")
START_UP = ("operators", "sensors", "hooks", "triggers", "filesystems")
HEAVY = (
    "pandas",
    "polars",
    "pyarrow",
    "numpy",
    "boto3",
    "botocore",
    "s3fs",
    "pyspark",
    "torch",
    "airflow.providers.amazon",
)

LOADED_BY_LIBRARY = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([name for name in ("airflow", "pyspark", "torch") if name in sys.modules]))
"""

LOADED_BY_ADAPTERS = """
import importlib, json, sys, time
heavy = json.loads(sys.argv[1])
import airflow.sdk
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger
base = time.process_time()
loaded = set(sys.modules)
culprits = {}
for name in sys.argv[2:]:
    importlib.import_module(name)
    for module in heavy:
        if module in sys.modules and module not in loaded:
            culprits.setdefault(module, name)
print(json.dumps({"culprits": culprits, "share": (time.process_time() - base) / base}))
"""


def modules(package: Path, *parts: str) -> list[str]:
    """Return the dotted names of all modules of some parts of the package, those inside Spark jobs excepted."""
    paths = [path for part in parts for path in ((package / part).rglob("*.py"))]
    names = {".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths}
    return sorted(
        name.removesuffix(".__init__")
        for name in names
        if not any(part in name.split(".") for part in ("jobs", "trainers", "migrations"))
    )


def fresh_process(code: str, *arguments: str) -> object:
    """Return the JSON that ``code`` prints in a new interpreter."""
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", LIBRARY)
def test_a_library_part_loads_neither_airflow_nor_spark(package: Path, part: str) -> None:
    names = modules(package, part)
    assert names, f"airflow_dataflow.{part} is empty"
    assert fresh_process(LOADED_BY_LIBRARY, *names) == []


def test_the_check_of_the_library_sees_airflow() -> None:
    assert fresh_process(LOADED_BY_LIBRARY, "airflow") == ["airflow"]


def test_what_airflow_loads_at_start_up_is_light(package: Path) -> None:
    names = [*modules(package, *START_UP), "airflow_dataflow.cli.airflow_group"]
    names += [f"airflow_dataflow.{name}" for name in ("assets", "plugin", "provider_info", "settings")]
    result = fresh_process(LOADED_BY_ADAPTERS, json.dumps(HEAVY), *names)
    assert isinstance(result, dict)
    assert result["culprits"] == {}
    assert result["share"] < 0.1, "importing the adapters takes over 10 % of the time of importing airflow.sdk"


def test_the_check_of_start_up_sees_what_is_heavy() -> None:
    result = fresh_process(LOADED_BY_ADAPTERS, json.dumps(HEAVY), "airflow_dataflow.provider_info", "polars")
    assert isinstance(result, dict)
    assert result["culprits"]["polars"] == "polars"
