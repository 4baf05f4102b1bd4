"""What the tests of cleaning share: tables as files, cleaned without a store, and rules tried on single values."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.process import Input, Previous, Process
from airflow_dataflow.cleaning.rule import RULES, FittedRule, Rule, judge
from airflow_dataflow.datasets.manifest import Manifest, Rows, fingerprint_of, new_version_id
from airflow_dataflow.engines.engine import TableFile
from airflow_dataflow.engines.local import LocalEngine
from airflow_dataflow.recipe import Recipe, load_recipe
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft
from airflow_dataflow.storage.store import Store

AT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
WHAT_IS_SAID = ("row_id", "rule", "reason", "value", "duplicate_of")


@dataclass(frozen=True)
class Cleaned:
    """What a cleaning has made."""

    manifest: Manifest
    directory: Directory

    def rows(self, folder: str) -> pl.DataFrame:
        """Return the rows of all files of a folder, in order."""
        entries = self.manifest.files_under(folder)
        frames = [pl.read_parquet(self.directory.read(entry.path)) for entry in entries]
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()

    @property
    def data(self) -> pl.DataFrame:
        """The rows that were kept."""
        return self.rows("data")

    @property
    def reasons(self) -> dict[str, str]:
        """The reason of each rejected row, by its id."""
        rows = self.rows("quarantine")
        return dict(rows.select("row_id", "reason").iter_rows()) if len(rows) else {}

    @property
    def previous(self) -> Previous:
        """The version, to carry over from."""
        return Previous(manifest=self.manifest, directory=self.directory)


Files = Mapping[str, pl.DataFrame]


class Workshop:
    """Cleans tables in a folder, as a store does, but without a catalog."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def clean(
        self, files: Files, recipe: Mapping[str, Any], *, previous: Cleaned | None = None, batch_bytes: int = 1 << 20
    ) -> Cleaned:
        """Clean tables, given by the stems of their files."""
        self._made += 1
        raw = Directory.from_url(str(self._folder / f"raw-{self._made}"))
        inputs = [self._input(raw, stem, frame) for stem, frame in sorted(files.items())]
        process = Process(load_recipe(recipe), LocalEngine(batch_bytes=batch_bytes))
        target = Directory.from_url(str(self._folder / f"clean-{self._made}"))
        fingerprint = fingerprint_of([process.fingerprint, [item.digest for item in inputs]])
        draft = VersionDraft(
            target,
            dataset="clean",
            version=new_version_id(AT, fingerprint),
            kind="dataset",
            fingerprint=fingerprint,
        )
        before = None if previous is None else previous.previous
        return Cleaned(process.clean(inputs, draft, where="raw", previous=before), target)

    @staticmethod
    def _input(directory: Directory, stem: str, frame: pl.DataFrame) -> Input:
        path = f"data/{stem}.parquet"
        with directory.create(path) as file:
            frame.write_parquet(file)
        return Input(
            table=TableFile(directory=directory, path=path, stem=stem), digest=file.digest, bytes=file.bytes_written
        )


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Return a workshop."""
    return Workshop(tmp_path)


@pytest.fixture(scope="session")
def workshops() -> Callable[[], Any]:
    """Return what makes a workshop for each example of a property test; use it in a ``with`` block."""

    class Temporary:
        def __enter__(self) -> Workshop:
            self._folder = TemporaryDirectory(prefix="cleaning-")
            return Workshop(Path(self._folder.name))

        def __exit__(self, *_: object) -> None:
            self._folder.cleanup()

    return Temporary


@pytest.fixture(scope="session")
def build() -> Callable[..., Rule]:
    """Return a function that builds a rule for the column ``text``."""

    def build_rule(name: str, **parameters: Any) -> Rule:
        return RULES.build(name, parameters).bind(Recipe(text="text"))

    return build_rule


@pytest.fixture(scope="session")
def verdict(build: Callable[..., Rule]) -> Callable[..., list[tuple[str | None, str | None]]]:
    """Return a function that gives the reason and the measured value for each row of a table."""

    def decide(name: str, rows: pl.DataFrame, state: Mapping[str, Any], **parameters: Any) -> list[Any]:
        rule = build(name, **parameters)
        return judge(rule.measure(rows), rule.checks(state), reason="reason", value="value").rows()

    return decide


@pytest.fixture
def fitted(build: Callable[..., Rule], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that fits a rule on a table, read in small batches."""

    def fit(name: str, rows: pl.DataFrame, **parameters: Any) -> dict[str, Any]:
        rule = build(name, **parameters)
        assert isinstance(rule, FittedRule)
        rows.write_parquet(tmp_path / "rows.parquet")
        file = TableFile(directory=Directory.from_url(str(tmp_path)), path="rows.parquet", stem="rows")
        return rule.fit(LocalEngine(batch_bytes=1).scan([file]), rule.reads)

    return fit


@pytest.fixture
def make_raw(store: Store) -> Callable[..., Manifest]:
    """Return a function that adds a version of tables to the dataset ``raw``."""

    def make(files: Files, at: datetime = AT, dataset: str = "raw") -> Manifest:
        fingerprint = fingerprint_of({stem: frame.write_json() for stem, frame in files.items()} | {"at": str(at)})
        columns = {name: str(kind) for frame in files.values() for name, kind in frame.schema.items()}
        count = sum(map(len, files.values()))
        with store.draft(dataset, at=at, fingerprint=fingerprint) as draft:
            for stem, frame in files.items():
                content = io.BytesIO()
                frame.write_parquet(content)
                with draft.create(f"data/{stem}.parquet") as file:
                    file.write(content.getvalue())
                    file.rows = len(frame)
            return draft.commit(Rows(rows_in=count, rows_out=count), columns=columns)

    return make


@pytest.fixture
def cleaned(store: Store) -> Callable[[Manifest], Cleaned]:
    """Return a function that opens a cleaned version of the store."""
    return lambda manifest: Cleaned(manifest, store.directory(manifest))
