"""Copies of versions are read back and compared, also while tasks move them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.tables import replicas
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry
from airflow_dataflow.errors import ArchivedError, TransferError
from airflow_dataflow.storage import verification
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.verification import check_copy
from tests.storage.versions import FIRST, SECOND, make_version


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _turn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize(
    ("damage", "name", "words"),
    [
        (_cut, "data/0.bin", "reads back as"),
        (_turn, "data/1.bin", "reads back as"),
        (Path.unlink, "quarantine/0.bin", "is missing"),
        (_cut, MANIFEST_NAME, None),
        (Path.unlink, MANIFEST_NAME, f"{MANIFEST_NAME} is missing"),
        (lambda path: path.write_bytes(b"{"), MANIFEST_NAME, "is not a manifest"),
    ],
)
def test_a_bad_file_is_named(store: Store, damage: Callable[[Path], None], name: str, words: str | None) -> None:
    made = make_version(store, FIRST)
    sizes: list[int] = []
    assert check_copy(store, made, store.hot, done=sizes.append).state == "whole"
    assert sum(sizes) == made.total_bytes
    damage(Path(store.directory(made).root, name))
    check = check_copy(store, made, store.hot)
    if words is None:  # only a line's end is gone
        assert check.state == "whole"
        return
    assert (check.version, check.tier, check.state, check.is_bad) == (made.reference, "hot", "damaged", True)
    ((path, found),) = check.damages
    assert path == name
    assert words in found


def test_a_good_manifest_of_another_content_is_no_copy(store: Store) -> None:
    made = make_version(store, FIRST)
    other = made.model_copy(update={"fingerprint": made.fingerprint[:6] + "0" * 58})
    Path(store.directory(made).root, MANIFEST_NAME).write_bytes(other.to_bytes())
    ((path, found),) = check_copy(store, made, store.hot).damages
    assert path == MANIFEST_NAME
    assert "not the one that the catalog knows" in found


def test_the_time_of_the_check_is_kept(store: Store) -> None:
    made = make_version(store, FIRST)
    past = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    with store.catalog.engine.begin() as connection:
        connection.execute(sa.update(replicas).values(verified_at=past))
    check_copy(store, made, store.hot)
    with store.catalog.engine.connect() as connection:
        assert connection.execute(sa.select(replicas.c.verified_at)).scalar_one() > past


def test_a_copy_that_a_task_moves_away_meanwhile_is_neither_bad_nor_recorded_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_version(store, FIRST), make_version(store, SECOND)
    original = verification.damage

    def move_before(directory: Directory, entry: FileEntry) -> str | None:
        for made in (first, second):
            store.catalog.remove_replica(store.replica(made, store.hot))
        store.remove_copy(store.hot, first.dataset, first.version)
        return original(directory, entry)

    monkeypatch.setattr(verification, "damage", move_before)
    for made in (first, second):
        assert check_copy(store, made, store.hot).state == "moved"
        assert store.catalog.replicas(made.dataset, made.version) == []


@pytest.mark.parametrize(
    ("error", "state", "bad"),
    [(TransferError("the network is away"), "unknown", True), (ArchivedError("in the archive"), "archived", False)],
)
def test_a_copy_that_cannot_be_read_now_is_not_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str, bad: bool
) -> None:
    made = make_version(store, FIRST)

    def fail(directory: Directory, entry: FileEntry) -> str | None:
        raise error

    monkeypatch.setattr(verification, "damage", fail)
    check = check_copy(store, made, store.hot)
    assert (check.state, check.is_bad, check.trouble) == (state, bad, str(error))
