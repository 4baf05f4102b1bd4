"""The command line as a whole: exit codes, errors on one line, interruptions."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow import __version__, errors
from airflow_dataflow.cli import datasets
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.progress import Progress

Dataflow = Callable[..., Any]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInputError("wrong"), 2),
        (errors.MissingColumnError("wrong"), 2),
        (errors.NotFoundError("wrong"), 2),
        (errors.EmptySourceError("wrong"), 2),
        (errors.CorruptDataError("wrong"), 2),
        (errors.GateFailedError("wrong"), 1),
        (errors.StorageFullError("wrong"), 1),
        (errors.MissingPackageError("wrong"), 1),
        (errors.TransferError("wrong"), 1),
        (errors.JobFailedError("wrong"), 1),
        (FileNotFoundError("wrong"), 2),
        (OSError(errno.EIO, "wrong"), 1),
        (ZeroDivisionError("wrong"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_the_exit_code_tells_bad_input_from_failure(
    dataflow: Dataflow, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(_arguments: Namespace, _progress: Progress) -> None:
        raise error

    monkeypatch.setattr(datasets, "list_datasets", fail)
    outcome = dataflow("datasets", "list")
    assert outcome.code == code
    assert outcome.out == ""
    assert outcome.error.count("\n") == 1
    assert "wrong" in outcome.error or code == 130


def test_debug_shows_where_an_error_comes_from(dataflow: Dataflow) -> None:
    outcome = dataflow("datasets", "list", "--store", "nowhere.yaml", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.error
    assert outcome.error.endswith("error: no store file 'nowhere.yaml'\n")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["datasets"], ["datasets", "show"], ["datasets", "list", "--x"]]
)
def test_wrong_arguments_are_bad_input_on_one_line(dataflow: Dataflow, arguments: list[str]) -> None:
    outcome = dataflow(*arguments)
    assert outcome.code == 2
    assert outcome.error.startswith("error: ")
    assert outcome.error.count("\n") == 1
    assert "--help" in outcome.error


def test_help_and_version_succeed(dataflow: Dataflow) -> None:
    assert dataflow("--version").out == f"dataflow {__version__}\n"
    assert "datasets" in dataflow("--help").out


def test_a_reader_that_stops_reading_is_no_error(store_file: Path, version: Manifest) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "airflow_dataflow.cli.main", "datasets", "list", "--store", str(store_file)]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")
