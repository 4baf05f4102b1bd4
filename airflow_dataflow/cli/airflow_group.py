"""The group ``airflow dataflow``: the commands of ``dataflow`` in Airflow's own command line."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from functools import partial

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand

from airflow_dataflow.cli.arguments import COMMON, Command
from airflow_dataflow.cli.commands import COMMANDS, GROUPS


def get_cli_commands() -> list[CLICommand]:
    """Return the group; Airflow calls this whenever its command line starts."""
    return [GroupCommand("dataflow", "Raw data to published, versioned training datasets and models", _level(""))]


def _level(group: str) -> list[CLICommand]:
    """Return the commands of a group, or of the top level and the groups below it when ``group`` is empty."""
    level: list[CLICommand] = []
    for command in COMMANDS:
        parent, _, name = command.name.rpartition(" ")
        if parent == group:
            arguments = [Arg(argument.flags, **argument.options()) for argument in (*command.arguments, *COMMON)]
            level.append(ActionCommand(name, command.help, partial(_run, command), arguments))
    if not group:
        level += [GroupCommand(name, text, _level(name)) for name, text in GROUPS.items()]
    return level


def _run(command: Command, arguments: Namespace) -> None:
    from airflow_dataflow.cli.main import run

    for handler in logging.getLogger().handlers:
        # Airflow logs to standard output, which is for the answer here.
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    sys.exit(run(command, arguments))
