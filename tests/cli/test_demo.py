"""``dataflow demo`` hands its arguments on and passes the outcome back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO

import pytest

from airflow_dataflow.cli import main
from airflow_dataflow.demo import run
from airflow_dataflow.demo.options import DemoOptions

Dataflow = Callable[..., Any]


@pytest.mark.parametrize("code", [0, 1])
def test_every_option_reaches_the_demo(dataflow: Dataflow, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    asked = []

    def run_demo(options: DemoOptions) -> int:
        asked.append(options)
        return code

    monkeypatch.setattr(run, "run_demo", run_demo)
    arguments = [
        "--input",
        "a.csv",
        "--text",
        "t",
        "--label",
        "l",
        "--id",
        "i",
        "--ui",
        "--home",
        "h",
        "--port",
        "8080",
    ]
    assert dataflow("demo", *arguments).code == code
    assert dataflow("demo").code == code
    own = DemoOptions(home=Path("h"), input=Path("a.csv"), text="t", label="l", id="i", ui=True, port=8080)
    assert asked == [own, DemoOptions()]


def test_options_that_do_not_fit_are_bad_input(dataflow: Dataflow, tmp_path: Path) -> None:
    outcome = dataflow("demo", "--input", "a.csv", "--home", tmp_path / "demo")
    assert outcome.code == 2
    assert "--text COLUMN" in outcome.error
    assert not (tmp_path / "demo").exists()


def test_no_progress_bars_draw_over_what_the_demo_prints(dataflow: Dataflow, monkeypatch: pytest.MonkeyPatch) -> None:
    def progress_bars(stream: TextIO) -> NoReturn:
        raise AssertionError(f"bars on {stream}")

    monkeypatch.setattr(main, "progress_bars", progress_bars)
    monkeypatch.setattr(run, "run_demo", lambda _options: 0)
    assert dataflow("demo").code == 0
    assert dataflow("datasets", "list").code == 1
