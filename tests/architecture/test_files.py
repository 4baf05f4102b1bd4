"""Habits that hold for every tracked file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

MOST_LINES = 450
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "X" * 3)


@pytest.fixture(scope="module")
def sources(repository: Path) -> list[Path]:
    """Return our Python files."""
    folders = ("airflow_dataflow", "dags", "tests", "benchmarks", "tools")
    return [path for folder in folders for path in sorted((repository / folder).rglob("*.py"))]


def test_no_file_has_grown_too_long_to_read(sources: list[Path]) -> None:
    lines = {str(path): path.read_text().count("\n") for path in sources}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_nothing_is_left_unfinished(sources: list[Path], repository: Path) -> None:
    pages = [*sources, *repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    assert [path.name for path in pages if any(word in path.read_text() for word in UNFINISHED)] == []


def test_every_python_file_defers_the_evaluation_of_annotations(sources: list[Path]) -> None:
    late = "from __future__ import annotations"
    assert [path for path in sources if "\nimport " in path.read_text() and late not in path.read_text()] == []


def test_the_command_of_ci_is_the_command_of_people(repository: Path) -> None:
    script = repository / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
