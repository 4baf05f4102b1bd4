"""``airflow dataflow …`` has the commands of ``dataflow …``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.cli.cli_config import ActionCommand, CLICommand, GroupCommand

from airflow_dataflow.cli.airflow_group import get_cli_commands
from airflow_dataflow.cli.arguments import COMMON
from airflow_dataflow.cli.commands import COMMANDS
from airflow_dataflow.datasets.manifest import Manifest

pytestmark = pytest.mark.airflow


def flatten(commands: list[CLICommand], prefix: str = "") -> Iterator[tuple[str, ActionCommand]]:
    """Yield every command with its full name."""
    for command in commands:
        if isinstance(command, GroupCommand):
            yield from flatten(list(command.subcommands), f"{prefix}{command.name} ")
        else:
            yield f"{prefix}{command.name}", command


def test_both_command_lines_have_the_same_commands_and_arguments() -> None:
    found = {name: [argument.flags for argument in command.args] for name, command in flatten(get_cli_commands())}
    assert found == {
        f"dataflow {command.name}": [argument.flags for argument in (*command.arguments, *COMMON)]
        for command in COMMANDS
    }


def test_airflow_runs_a_command_and_passes_its_exit_code_on(
    store_file: Path, version: Manifest, tmp_path: Path
) -> None:
    def airflow(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow", "dataflow", *arguments, "--store", str(store_file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    catalog = tmp_path / "catalog.db"
    catalog.unlink()
    rebuilt = airflow("catalog", "rebuild", "--format", "json")
    assert json.loads(rebuilt.stdout)["copies"] == 1, "the log of the migration belongs to standard error"
    shown = airflow("datasets", "list", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)[0]["dataset"] == "support/raw"
    refused = airflow("datasets", "show", "nothing")
    assert refused.returncode == 2
    assert "error: no dataset named 'nothing'" in refused.stderr
