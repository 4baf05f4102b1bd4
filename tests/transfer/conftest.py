"""Places of the fault tests: a local folder, and an S3 server behind a link that does harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.storage.backends.local import LocalBackend
from airflow_dataflow.transfer import retry
from airflow_dataflow.transfer import small as small_files
from airflow_dataflow.transfer.file_journal import FileJournal
from tests.services.faulty_proxy import FaultyProxy
from tests.transfer import pieces
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


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files have parts although they are tiny, and let retries come soon."""
    monkeypatch.setattr(LocalBackend, "part_bytes", lambda _self, _size: pieces.PART_BYTES)
    monkeypatch.setattr(small_files, "SMALL_FILE_BYTES", pieces.SMALL_BYTES)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with a file of several tiny parts, a small one and an empty one."""
    (tmp_path / "source").mkdir()
    for path, content in pieces.FILES.items():
        (tmp_path / "source" / path).write_bytes(content)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a folder that is not there yet."""
    return tmp_path / "target"
