"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import airflow_dataflow

REPOSITORY = Path(airflow_dataflow.__file__).parent.parent


@pytest.mark.airflow
def test_the_pages_are_those_that_make_docs_writes() -> None:
    spec = importlib.util.spec_from_file_location("reference", REPOSITORY / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for name, content in reference.pages().items():
        assert (REPOSITORY / "docs" / "reference" / name).read_text() == content, "run 'make docs' and commit the pages"
