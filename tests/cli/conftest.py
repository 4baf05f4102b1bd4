"""A command line that runs in this process, on a store that a file describes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.cli.main import main
from airflow_dataflow.datasets.manifest import Manifest, Rows, fingerprint_of
from airflow_dataflow.storage.store import Store


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        """The answer, of ``--format json``."""
        return json.loads(self.out)


@pytest.fixture
def dataflow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """Return a function that runs ``dataflow`` with arguments."""
    monkeypatch.delenv("DATAFLOW_STORE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse ends the process itself
            code = int(end.code or 0)
        out, error = capsys.readouterr()
        return Outcome(code, out, error)

    return run


@pytest.fixture
def store_file(store: Store, tmp_path: Path) -> Path:
    """Return the file that describes ``store``."""
    tiers = [{"name": tier.name, "class": tier.tier_class, "url": tier.url} for tier in store.tiers]
    path = tmp_path / "store.json"
    path.write_text(json.dumps({"catalog_url": f"sqlite:///{tmp_path}/catalog.db", "tiers": tiers}))
    return path


@pytest.fixture
def version(store: Store) -> Manifest:
    """Return a version of ``support/raw`` with two rows in, one quarantined."""
    rows = Rows(rows_in=2, rows_out=1, rows_quarantined=1, quarantined_by_reason={"empty": 1})
    at = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
    with store.draft("support/raw", at=at, fingerprint=fingerprint_of("raw")) as draft:
        with draft.create("data/a.bin") as file:
            file.write(b"one row")
        return draft.commit(rows)
