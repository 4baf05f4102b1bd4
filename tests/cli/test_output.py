"""How answers and progress look."""

from __future__ import annotations

import io
import json

import pytest

from airflow_dataflow.cli.output import Answer, progress_bars, show
from airflow_dataflow.progress import no_progress


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """Return ``True``."""
        return True


def test_json_is_the_data_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer({"rows": 1, "name": "naïve"}, [{"shown": "never"}], "a sentence"), "json")
    assert json.loads(capsys.readouterr().out) == {"rows": 1, "name": "naïve"}


def test_a_table_shows_every_key_of_every_row_and_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "a", "rows": 1234567}, {"name": "[b]", "free_bytes": None, "whole": True, "parts": [1, "x"]}]
    show(Answer(rows, summary="two of them"), "table")
    out = capsys.readouterr().out
    for text in ("name", "rows", "free bytes", "1,234,567", "[b]", "yes", "1, x"):
        assert text in out
    assert out.endswith("two of them\n")


def test_a_mapping_is_shown_as_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer({"accuracy": 0.87654321, "report": {"f1": 1.0}}), "table")
    out = capsys.readouterr().out
    assert "0.8765" in out
    assert "f1: 1.0000" in out


def test_a_long_value_is_not_cut_off_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer([{"url": "x" * 150}]), "table")
    assert "x" * 150 in capsys.readouterr().out


def test_progress_is_drawn_on_a_terminal_only() -> None:
    with progress_bars(io.StringIO()) as progress:
        assert progress is no_progress
    terminal = Terminal()
    with progress_bars(terminal) as progress:
        progress("clean", 3, 10, "files")
        progress("clean", 10, 10, "files")
        for done in (1_000_000, 2_000_000, 4_000_000):
            progress("copy", done, 4_000_000, "bytes")
    assert "clean" in terminal.getvalue()
    assert "10 of 10 files" in terminal.getvalue()
    assert "4.0 MB of 4.0 MB, " in terminal.getvalue()
    assert "B/s" in terminal.getvalue()
