"""A store whose hot tier is on the backend: a version is made, found, checked, carried on and cleaned up after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.errors import BusyError, TransferError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.rebuild import rebuild
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.testing.contents import LARGE, write, write_in_pieces

DATASET = "support/dialogs"
FIRST, SECOND = datetime(2026, 11, 22, 2, 15, tzinfo=UTC), datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


class VersionContract:
    """Tests of versions on the backend."""

    @pytest.fixture
    def directory(self) -> Directory:
        """Return an empty folder on the file system that the backend serves."""
        raise NotImplementedError

    @pytest.fixture
    def contract_store(self, directory: Directory, tmp_path: Path) -> Store:
        """Return a store whose only tier is the folder."""
        return _store_on(directory, tmp_path / "catalog.db")

    def test_a_version_is_made_and_found_and_verified(self, contract_store: Store) -> None:
        made = make_version(contract_store, FIRST, "4f2a9c")
        assert contract_store.find(DATASET, "4f2a9c") == made
        assert contract_store.verify(made)
        folder = contract_store.directory(contract_store.manifest(f"{DATASET}@latest"))
        assert folder.read("data/0.bin") == b"0" * 1000
        assert folder.digest("data/large.bin") == (made.files[-1].digest, len(LARGE))

    def test_a_version_takes_over_files_of_the_one_before(self, contract_store: Store) -> None:
        old = make_version(contract_store, FIRST, "4f2a9c")
        with contract_store.draft(DATASET, at=SECOND, fingerprint="00aa11") as draft:
            for entry in old.files:
                draft.carry(entry, contract_store.directory(old), path=f"data/old/{entry.path.rpartition('/')[2]}")
            made = draft.commit(Rows())
        contract_store.remove_copy(contract_store.hot, DATASET, old.version)
        assert contract_store.verify(made)
        assert [entry.digest for entry in made.files] == [entry.digest for entry in old.files]

    def test_a_version_that_exists_is_never_made_a_second_time(self, contract_store: Store) -> None:
        made = make_version(contract_store, FIRST, "4f2a9c")
        with pytest.raises(BusyError, match="a retry finds that version"):
            make_version(contract_store, FIRST, "4f2a9c")
        assert contract_store.verify(made)

    def test_a_changed_file_is_found_out(self, contract_store: Store) -> None:
        made = make_version(contract_store, FIRST, "4f2a9c")
        write(contract_store.directory(made), "data/0.bin", b"1" * 1000)
        with pytest.raises(TransferError, match=r"data/0\.bin reads back as 1,000 bytes"):
            contract_store.verify(made)

    def test_a_sweep_removes_what_has_no_manifest_and_nothing_else(
        self, contract_store: Store, directory: Directory, tmp_path: Path
    ) -> None:
        made = make_version(contract_store, FIRST, "4f2a9c")
        write(directory, f"{DATASET}/20261121T021500Z-bbbbbb/data/0.bin", b"what a killed process left")
        now = datetime.now(UTC)
        assert contract_store.sweep(grace=timedelta(days=1), now=now) == []
        left = directory.child(f"{DATASET}/20261121T021500Z-bbbbbb")
        assert contract_store.sweep(grace=timedelta(days=1), now=now + timedelta(days=2)) == [left.url]
        assert contract_store.versions_on(contract_store.hot, DATASET) == [made.version]
        assert contract_store.verify(made)
        other = _store_on(directory, tmp_path / "rebuilt.db")
        rebuild(other)
        assert other.manifest(DATASET) == made


def make_version(store: Store, at: datetime, fingerprint: str) -> Manifest:
    """Make a version with a small and a large file."""
    with store.draft(DATASET, at=at, fingerprint=fingerprint) as draft:
        for name, data in (("0", b"0" * 1000), ("large", LARGE)):
            with draft.create(f"data/{name}.bin") as writer:
                write_in_pieces(writer, data)
                writer.rows = 10
        return draft.commit(Rows(rows_in=20, rows_out=20), columns={"body": "string"})


def _store_on(directory: Directory, catalog: Path) -> Store:
    options = dict(directory.fs.storage_options)
    tier = Tier(name="hot", tier_class="hot", url=directory.url, storage_options=options)
    return Store([tier], Catalog(f"sqlite:///{catalog}"))
