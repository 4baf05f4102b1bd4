"""The console script ``dataflow``: parse, run, print, and turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, redirect_stdout
from typing import NoReturn, cast

from airflow_dataflow import __version__
from airflow_dataflow.cli.arguments import COMMON, Command
from airflow_dataflow.cli.commands import COMMANDS, GROUPS
from airflow_dataflow.cli.output import Answer, progress_bars, show
from airflow_dataflow.errors import (
    CorruptDataError,
    DataflowError,
    EmptySourceError,
    InvalidInputError,
    MissingColumnError,
    NotFoundError,
)
from airflow_dataflow.progress import no_progress

DONE, FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
_BAD_INPUT = (
    InvalidInputError,
    MissingColumnError,
    NotFoundError,
    EmptySourceError,
    CorruptDataError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message}; see '{self.prog} --help'\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``dataflow``."""
    parser = _Parser(prog="dataflow", description="Raw data to published, versioned training datasets and models.")
    parser.add_argument("--version", action="version", version=f"dataflow {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    groups = {}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            sub = commands.add_parser(group, help=GROUPS[group], description=GROUPS[group])
            groups[group] = sub.add_subparsers(metavar="COMMAND", required=True)
        own = (groups[group] if group else commands).add_parser(name, help=command.help, description=command.help)
        for argument in (*command.arguments, *COMMON):
            own.add_argument(*argument.flags, **argument.options())
        own.set_defaults(command=command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :param arguments: what follows ``dataflow``; those of the process when ``None``.
    :returns: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    parsed = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if parsed.debug else logging.WARNING, format="%(levelname)s %(message)s")
    return run(parsed.command, parsed)


def run(command: Command, arguments: argparse.Namespace) -> int:
    """Run a command with parsed arguments and print its answer.

    :returns: the exit code; see :func:`main`.
    """
    module, _, function = command.function.partition(":")
    try:
        work = getattr(importlib.import_module(f"airflow_dataflow.cli.{module}"), function)
        # Logs and prints of libraries go to standard error, so that the answer stays alone on standard output.
        bars = nullcontext(no_progress) if command.prints_itself else progress_bars(sys.stderr)
        with redirect_stdout(sys.stderr), bars as progress, ExitStack() as arguments.ending:
            arguments.command = command
            answer = cast("Answer", work(arguments, progress))
        show(answer, arguments.format)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, e.g. `head`, has seen enough; without this Python would fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last handler: every error becomes one line and a code
        return _explain(error, debug=arguments.debug)
    return DONE if answer.succeeded else FAILED


def _explain(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    message = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, DataflowError | OSError):
        message = f"{type(error).__name__}: {message} (--debug shows where)"
    sys.stderr.write(f"error: {message}\n")
    return BAD_INPUT if isinstance(error, _BAD_INPUT) else FAILED


if __name__ == "__main__":
    sys.exit(main())
