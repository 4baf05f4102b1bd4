"""The table of commands is whole."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from airflow_dataflow.cli.arguments import COMMON, Command
from airflow_dataflow.cli.commands import COMMANDS, GROUPS


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_names_a_function_that_takes_arguments_and_progress(command: Command) -> None:
    module, _, name = command.function.partition(":")
    function = getattr(importlib.import_module(f"airflow_dataflow.cli.{module}"), name)
    assert len(inspect.signature(function).parameters) == 2
    assert function.__doc__


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_has_no_argument_twice_and_explains_each(command: Command) -> None:
    flags = [flag for argument in (*command.arguments, *COMMON) for flag in argument.flags]
    assert len(flags) == len(set(flags))
    assert all(argument.help for argument in command.arguments)


def test_every_group_has_a_description_and_commands() -> None:
    assert {command.name.rpartition(" ")[0] for command in COMMANDS} - {""} == set(GROUPS)


def test_the_table_is_light() -> None:
    code = (
        "import sys, airflow_dataflow.cli.main as main; main.build_parser(); "
        "sys.exit(bool({'airflow', 'polars', 'rich', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
