"""The backend that the docs show passes the contract where others would run it: outside, as a package of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import airflow_dataflow

REPOSITORY = Path(airflow_dataflow.__file__).parent.parent
PAGE = REPOSITORY / "docs" / "how-to" / "add-a-backend.md"


def install(folder: Path) -> None:
    """Write what the page shows, and what pip would write of it, into a folder."""
    code, announced, tests = re.findall(r"^```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (folder / "shelf_backend.py").write_text(code)
    (folder / "test_shelf.py").write_text(tests)
    information = folder / "shelf_backend-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-backend\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(announced.replace('project.entry-points."', "").replace('"', ""))


def run_pytest(folder: Path, *arguments: str) -> str:
    """Run the tests in the folder as their author would, and return what pytest printed."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    ).stdout


def test_the_backend_of_the_docs_passes_the_whole_contract(tmp_path: Path) -> None:
    install(tmp_path)
    printed = run_pytest(tmp_path)
    assert re.search(r"^\d{2,} passed in ", printed, re.MULTILINE), printed
    assert "skipped" not in printed


def test_a_backend_that_breaks_its_promise_fails_and_the_failure_tells_why(tmp_path: Path) -> None:
    install(tmp_path)
    module = tmp_path / "shelf_backend.py"
    module.write_text(module.read_text().replace('"INSERT" if exclusive else', '"INSERT OR REPLACE" if exclusive else'))
    printed = run_pytest(tmp_path, "-k", "exclusive and not where_none_is")
    assert " passed" not in printed
    assert "DID NOT RAISE" in printed
    assert "assert [b'" in printed, "assertions of the suite have to show what they compared"
