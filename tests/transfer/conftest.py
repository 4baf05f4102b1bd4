"""Places of the fault tests: a local folder, and an S3 server behind a link that does harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.transfer.file_journal import FileJournal
from tests.services.faulty_proxy import FaultyProxy
from tests.transfer.faults import FILES, OpenJournal, Place, Way, small_parts


@pytest.fixture
def far(link: FaultyProxy, link_bucket: str, link_options: dict[str, Any], behind_options: dict[str, Any]) -> Place:
    """Return an empty folder on the S3 server, to which transfers go through the link."""
    return Place(f"s3://{link_bucket}/far", link_options, behind_options)


@pytest.fixture
def near(tmp_path: Path) -> Place:
    """Return an empty local folder."""
    return Place(str(tmp_path / "near"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transfers cut files into small parts, and try again soon."""
    for owner, name, value in small_parts():
        monkeypatch.setattr(owner, name, value)


@pytest.fixture
def way(request: pytest.FixtureRequest, near: Place, far: Place, small: None) -> Way:
    """Return a way from a full folder to an empty one: ``up``, ``down``, or ``across`` from the link to a server."""
    beside = Place(far.url.replace("/far", "/beside"), far.past, far.past)
    made = {"up": Way(near, far), "down": Way(far, near), "across": Way(far, beside)}[request.param]
    made.source.fill(FILES)
    return made


@pytest.fixture
def journal(tmp_path: Path) -> OpenJournal:
    """Return a function that opens the journal of the test's one transfer."""
    return lambda: FileJournal(tmp_path / "journals", "one", "a target")
