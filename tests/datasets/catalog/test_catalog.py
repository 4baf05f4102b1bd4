"""The catalog: what it keeps, who may write at once, and which schema it accepts."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.reads import Reader
from airflow_dataflow.datasets.catalog.tables import VERSION_TABLE
from airflow_dataflow.datasets.manifest import FileEntry, Rows, fingerprint_of
from airflow_dataflow.datasets.name import Reference
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.datasets.catalog.versions import START, manifest, replica
from tests.killing import at_once
from tests.services.sql import SERVERS


@pytest.fixture
def catalog(catalog_url: str) -> Catalog:
    return Catalog(catalog_url)


def test_an_empty_database_gets_its_tables_at_the_first_use(catalog: Catalog) -> None:
    assert catalog.datasets() == []
    with pytest.raises(NotFoundError, match=r"no dataset named 'support/dialogs'$"):
        catalog.resolve("support/dialogs")


@pytest.mark.parametrize(
    ("reference", "number"),
    [("", 2), ("@latest", 2), ("@latest~1", 1), ("@latest~2", 0), (f"@{manifest(1).version}", 1)],
)
def test_references_name_versions_by_their_moment(catalog: Catalog, reference: str, number: int) -> None:
    for day in (1, 0, 2):
        catalog.add(manifest(day), replica(manifest(day)))
    assert catalog.resolve(f"support/dialogs{reference}") == manifest(number)
    assert catalog.resolve(Reference.parse(f"support/dialogs{reference}")) == manifest(number)


def test_what_is_not_there_is_named_with_what_is(catalog: Catalog) -> None:
    made = manifest(0)
    catalog.add(made, replica(made))
    with pytest.raises(NotFoundError, match="no dataset named 'support/dialog'; did you mean 'support/dialogs'"):
        catalog.resolve("support/dialog@latest")
    with pytest.raises(NotFoundError, match=f"latest~1 among the 1 of that dataset; newest: {made.version}"):
        catalog.resolve("support/dialogs@latest~1")


def test_a_version_is_recorded_once_and_its_last_description_counts(catalog: Catalog) -> None:
    made = manifest(0)
    for recorded in (made, made, manifest(0, statistics={"rows": 1})):
        catalog.add(recorded, replica(recorded))
    assert catalog.manifests(made.dataset) == [manifest(0, statistics={"rows": 1})]
    assert catalog.replicas(made.dataset, made.version) == [replica(made)]


def test_the_newest_version_with_a_fingerprint_is_found(catalog: Catalog) -> None:
    older, newer = manifest(0, fingerprint="same"), manifest(1, fingerprint="same")
    for made in (newer, older):
        catalog.add(made, replica(made))
    assert catalog.find("support/dialogs", "same") == newer
    assert catalog.find("support/dialogs", "other") is None
    assert catalog.find("support/other", "same") is None


def test_the_newest_published_version_is_known(catalog: Catalog) -> None:
    made = [manifest(day) for day in range(3)]
    for version in made:
        catalog.add(version, replica(version))
    assert catalog.published("support/dialogs") is None
    for version in (made[1], made[0]):
        catalog.put_replica(replica(version, "s3://public/x", None))
    assert catalog.published("support/dialogs") == made[1]
    assert catalog.published("support/other") is None


def test_copies_come_and_go(catalog: Catalog) -> None:
    made = manifest(0)
    catalog.add(made, replica(made))
    catalog.put_replica(replica(made, "cold", "cold"))
    catalog.put_replica(replica(made, "cold", "cold"))
    assert catalog.replicas(made.dataset, made.version) == [replica(made, "cold", "cold"), replica(made)]
    catalog.remove_replica(replica(made))
    assert catalog.replicas(made.dataset, made.version) == [replica(made, "cold", "cold")]
    catalog.remove(made.dataset, made.version)
    assert catalog.datasets() == catalog.replicas(made.dataset, made.version) == []


def test_a_copy_of_an_unknown_version_is_refused(catalog: Catalog) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        catalog.put_replica(replica(manifest(0)))


def test_names_are_compared_and_sorted_by_their_characters(catalog: Catalog) -> None:
    # Databases that follow a language take these for equal, or sort them otherwise.
    names = ["a-b", "a/b", "a0", "a_b", "ab", "b"]
    for name in reversed(names):
        catalog.add(manifest(0, name), replica(manifest(0, name)))
    assert catalog.datasets() == names == sorted(names)
    made = manifest(0, "a-b")
    for location in ("s3://public/a", "s3://public/A", "s3://public/ä"):
        catalog.put_replica(replica(made, location, None))
    assert len(catalog.replicas("a-b", made.version)) == 4
    catalog.remove_replica(replica(made, "s3://public/A", None))
    left = [found.location for found in catalog.replicas("a-b", made.version)]
    assert left == ["hot", "s3://public/a", "s3://public/ä"]


def test_the_manifest_of_a_hundred_thousand_files_is_kept(catalog: Catalog) -> None:
    files = [
        FileEntry(path=f"data/part-{number:06}.parquet", bytes=number, digest=f"xxh3-128:{_hex(number)}", rows=number)
        for number in range(100_000)
    ]
    noise = random.Random(20261123).randbytes(6 << 20).hex()  # that much stays after compression
    large = manifest(0, files=files, statistics={"note": "naïve 数据 🙂", "noise": noise})
    assert len(large.to_bytes()) > 16 << 20, "more than MariaDB takes in one statement"
    catalog.add(large, replica(large))
    assert catalog.resolve("support/dialogs") == large
    small = manifest(0)
    catalog.add(small, replica(small))
    assert catalog.resolve("support/dialogs") == small


def _hex(number: int) -> str:
    return fingerprint_of(number)[:32]


def test_the_newest_version_besides_one_work_is_found(catalog: Catalog) -> None:
    made = [manifest(day) for day in range(3)]
    assert catalog.newest("support/dialogs") is None
    for version in made:
        catalog.add(version, replica(version))
    assert catalog.newest("support/dialogs") == made[2]
    assert catalog.newest("support/dialogs", besides=made[2].fingerprint) == made[1]
    assert catalog.references() == catalog.references("support/dialogs") == [m.reference for m in reversed(made)]


def test_what_lies_on_tiers_is_listed_with_its_size(catalog: Catalog) -> None:
    entry = FileEntry(path="data/0.bin", bytes=7, digest=f"xxh3-128:{'0' * 32}")
    made = manifest(0, files=[entry])
    catalog.add(made, replica(made))
    catalog.put_replica(replica(made, "cold", "cold"))
    catalog.put_replica(replica(made, "s3://public/x", None))
    assert [(h.reference, h.tier, h.bytes, h.files) for h in catalog.holdings()] == [
        (made.reference, "cold", 7, 1),
        (made.reference, "hot", 7, 1),
    ]
    assert catalog.holdings("support/dialogs") == catalog.holdings()
    assert catalog.holdings("support/other") == []


def test_a_check_of_a_copy_that_was_moved_away_does_not_bring_it_back(catalog: Catalog) -> None:
    made = manifest(0)
    catalog.add(made, replica(made))
    assert catalog.verified(replica(made))
    catalog.remove_replica(replica(made))
    assert not catalog.verified(replica(made))
    assert catalog.replicas(made.dataset, made.version) == []


# several processes ----------------------------------------------------------------------------


def _write(url: str, worker: int, versions: int) -> str:
    catalog = Catalog(url)
    for number in range(versions):
        mine, everyones = manifest(number, f"support/{worker}"), manifest(number)
        for made in (mine, everyones):
            catalog.add(made, replica(made))
            catalog.put_replica(replica(made, f"s3://public/{worker}", None))
    return "done"


def test_several_processes_write_at_once_and_an_empty_database_too(catalog_url: str) -> None:
    assert at_once(*[(_write, (catalog_url, worker, 5)) for worker in range(4)]) == ["done"] * 4
    catalog = Catalog(catalog_url)
    assert catalog.datasets() == ["support/0", "support/1", "support/2", "support/3", "support/dialogs"]
    for dataset in catalog.datasets():
        found = catalog.manifests(dataset)
        assert len(found) == 5
        copies = 5 if dataset == "support/dialogs" else 2
        assert [len(catalog.replicas(dataset, made.version)) for made in found] == [copies] * 5


def _commit(url: str, writer: int, versions: int) -> list[float]:
    """Commit versions of an own dataset and of one that all writers share; return how long each commit took."""
    waits = []
    for number in range(versions):
        catalog = Catalog(url)  # each task has its own
        for made in (manifest(number, f"support/{writer}"), manifest(versions * writer + number, "support/shared")):
            start = time.monotonic()
            catalog.add(made, replica(made))
            waits.append(time.monotonic() - start)
    return waits


def _commit_in_threads(url: str, process: int, threads: int, versions: int) -> list[float]:
    with ThreadPoolExecutor(threads) as pool:
        writers = range(process * threads, (process + 1) * threads)
        return [wait for waits in pool.map(lambda writer: _commit(url, writer, versions), writers) for wait in waits]


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_of_fifty_writers_at_once_none_loses_anything(server_url: str) -> None:
    Catalog(server_url).datasets()
    answers = at_once(*[(_commit_in_threads, (server_url, process, 25, 2)) for process in range(2)])
    assert [len(waits) for waits in answers] == [100, 100], answers
    catalog = Catalog(server_url)
    assert len(catalog.references("support/shared")) == 100
    assert len(catalog.references()) == len(catalog.holdings()) == 200
    assert len(catalog.manifests("support/shared")) == 100


def _connections(url: str) -> int:
    """Return how many connections the database has, besides the one that asks."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name == "postgresql":
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    else:
        query = "SELECT count(*) FROM information_schema.processlist WHERE db = database()"
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar_one() - 1


def _connections_become(url: str, wanted: int) -> bool:
    deadline = time.monotonic() + 20  # a server notices a closed connection a moment later
    while _connections(url) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return _connections(url) == wanted


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_a_task_holds_no_connection_while_it_works_nor_when_it_has_ended(server_url: str, tmp_path: Path) -> None:
    store = Store([Tier(name="hot", tier_class="hot", url=str(tmp_path))], Catalog(server_url))
    with store.read_by(Reader(command="test")):
        assert store.find("support/dialogs", "4f2a9c") is None
        assert _connections_become(server_url, 1), "kept for the next transaction"
        with store.draft("support/dialogs", at=START, fingerprint="4f2a9c") as draft:
            assert _connections_become(server_url, 0)
            draft.commit(Rows())
        store.catalog.datasets()
        assert _connections_become(server_url, 1)
    assert _connections_become(server_url, 0)


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_all_catalogs_of_a_process_share_few_idle_connections(server_url: str) -> None:
    catalogs = [Catalog(server_url) for _ in range(60)]
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(Catalog.datasets, catalogs)) == [[]] * 60
    assert _connections(server_url) <= 16
    catalogs[0].release()
    assert _connections_become(server_url, 0)


FORKING = """
import os, sys
from airflow_dataflow.datasets.catalog.catalog import Catalog
from tests.datasets.catalog.versions import manifest, replica

catalog = Catalog(sys.argv[1])
catalog.add(manifest(0), replica(manifest(0)))
child = os.fork()
catalog.add(manifest(1 if child else 2), replica(manifest(1 if child else 2)))
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_and_its_parent_go_on(catalog_url: str) -> None:
    # In a process of its own: threads of other tests would hold locks that nobody lets go in the child.
    subprocess.run([sys.executable, "-c", FORKING, catalog_url], check=True, timeout=60)
    assert len(Catalog(catalog_url).references()) == 3


def test_a_sqlite_file_that_is_locked_is_waited_for(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/deep/down/catalog.db")
    assert not (tmp_path / "deep").exists()
    assert catalog.datasets() == []
    other = sqlite3.connect(tmp_path / "deep" / "down" / "catalog.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    timer.start()
    catalog.add(manifest(0), replica(manifest(0)))
    timer.join()
    other.close()
    assert catalog.datasets() == ["support/dialogs"]


# schema ---------------------------------------------------------------------------------------


def _set_schema(url: str, revision: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    engine.dispose()


def test_an_older_schema_is_refused_until_the_upgrade(catalog_url: str) -> None:
    Catalog(catalog_url).datasets()
    _set_schema(catalog_url, "0000")
    with pytest.raises(
        InvalidInputError, match="has schema 0000, this release needs 0003: run 'dataflow catalog upgrade'"
    ):
        Catalog(catalog_url).datasets()


def test_a_later_schema_is_refused_and_no_upgrade_touches_it(catalog_url: str) -> None:
    Catalog(catalog_url).datasets()
    _set_schema(catalog_url, "9999")
    for use in (Catalog(catalog_url).datasets, Catalog(catalog_url).upgrade):
        with pytest.raises(InvalidInputError, match="has schema 9999 of a later release, this one knows 0003"):
            use()


def test_an_upgrade_of_an_empty_or_a_current_database_gives_the_newest_schema(catalog: Catalog) -> None:
    assert catalog.upgrade() == "0003"
    made = manifest(0)
    catalog.add(made, replica(made))
    assert catalog.upgrade() == "0003"
    assert catalog.manifests(made.dataset) == [made]
