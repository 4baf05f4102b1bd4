"""What is read of versions, and by whom, ends up in the catalog."""

from __future__ import annotations

import io
import logging
import pickle
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.datasets.catalog.reads import Read, Reader
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows
from airflow_dataflow.storage.store import Store
from airflow_dataflow.training.work_folder import bring_in
from airflow_dataflow.transfer.publish import publish
from airflow_dataflow.transfer.rebalance import rebalance
from tests.storage.versions import DATASET, FIRST, SECOND, make_version

TASK = Reader(dag_id="nightly", run_id="manual__1", task_id="clean", map_index=-1, try_number=2)


def _sizes(store: Store, manifest: Manifest) -> dict[str, int]:
    return {path: size for path, size in store.directory(manifest).files().items() if path != MANIFEST_NAME}


def _reads(store: Store) -> list[tuple[str, str, str, int, int]]:
    return sorted((r.reference, r.tier, r.purpose, r.bytes, r.files) for r in store.catalog.reads())


def test_a_read_is_recorded_with_its_bytes_its_files_and_its_reader(store: Store) -> None:
    made = make_version(store, FIRST)
    before = datetime.now(UTC)
    with store.read_by(TASK):
        directory = store.directory(made)
        size = len(directory.read("data/0.bin"))
        with store.directory(made).open("data/0.bin") as file:
            assert len(file.read(100)) == 100
            file.seek(0)
            assert len(file.read(10)) == 10
        with directory.open("data/1.bin") as file:
            buffer = bytearray(50)
            assert file.readinto(buffer) == 50
    (read,) = store.catalog.reads()
    assert (read.reference, read.tier, read.purpose, read.reader) == (made.reference, "hot", "use", TASK)
    assert (read.bytes, read.files) == (size + 160, 2)
    assert before <= read.at <= datetime.now(UTC)
    assert str(read.reader) == "nightly.clean in manual__1"


def test_looking_at_a_version_is_no_read_and_each_block_has_its_own(store: Store) -> None:
    made = make_version(store, FIRST)
    with store.read_by(TASK):
        directory = store.directory(made)
        assert directory.files()
        assert directory.exists("data/0.bin")
    assert store.catalog.reads() == []
    for command in ("clean", "features"):
        with store.read_by(Reader(command=command)):
            directory.read("data/0.bin")
    assert [str(read.reader) for read in store.catalog.reads()] == ["dataflow features", "dataflow clean"]


def test_a_task_that_fails_has_read_too(store: Store) -> None:
    made = make_version(store, FIRST)
    with pytest.raises(ZeroDivisionError), store.read_by(TASK):
        _read_and_fail(store, made)
    assert len(store.catalog.reads()) == 1


def _read_and_fail(store: Store, made: Manifest) -> None:
    store.directory(made).read("data/0.bin")
    raise ZeroDivisionError


def test_parquet_that_is_read_in_part_counts_in_part(store: Store) -> None:
    table = pa.table({name: list(range(200_000)) for name in "abcdefgh"})
    with store.draft(DATASET, at=FIRST, fingerprint="4f2a9c") as draft:
        with draft.create("data/0.parquet") as writer:
            pq.write_table(table, writer, compression="none", use_dictionary=False)
        made = draft.commit(Rows())
    with store.read_by(TASK), store.directory(made).open("data/0.parquet") as file:
        assert pq.read_table(file, columns=["c"]).num_rows == 200_000
    (read,) = store.catalog.reads()
    assert 200_000 * 8 <= read.bytes < made.total_bytes / 4


def test_publishing_moving_and_checking_say_why_they_read(store: Store, tmp_path: Path) -> None:
    made, newer = make_version(store, FIRST), make_version(store, SECOND)
    whole = sum(_sizes(store, made).values())
    manifest = len(Path(store.directory(made).root, MANIFEST_NAME).read_bytes())
    with store.read_by(TASK):
        publish(store, [made.reference], str(tmp_path / "public"))
    carried = (made.reference, "hot", "use", 0, 1)
    # The empty file has nothing to read.
    assert _reads(store) == [(made.reference, "hot", "publish", whole + manifest, 3), carried]
    with store.read_by(TASK):
        rebalance(store)
    purposes = {purpose for reference, _, purpose, _, _ in _reads(store) if reference == made.reference}
    assert purposes == {"use", "publish", "move"}
    with store.read_by(TASK):
        store.verify(newer)
    assert (newer.reference, "hot", "verify", sum(_sizes(store, newer).values()), 4) in _reads(store)
    used = store.catalog.reads(purposes={"use", "publish"})
    assert {read.reference for read in used} == {made.reference}


def test_files_that_are_handed_to_spark_count_as_a_whole(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    with store.read_by(TASK):
        bring_in(store.directory(made), {tmp_path / "inputs" / str(n): e for n, e in enumerate(made.files)})
    (read,) = store.catalog.reads()
    assert (read.bytes, read.files) == (made.total_bytes, len(made.files))


def test_files_that_are_carried_over_are_read_without_bytes(store: Store) -> None:
    first = make_version(store, FIRST)
    with store.read_by(TASK):
        make_version(store, SECOND)
    assert _reads(store) == [(first.reference, "hot", "use", 0, 1)]


def test_the_tier_that_was_read_counts(store: Store, tmp_path: Path) -> None:
    made = make_version(store, FIRST)
    shutil.copytree(tmp_path / "hot", tmp_path / "cold")
    store.catalog.put_replica(store.replica(made, store.tier("cold")))
    with store.read_by(TASK):
        for tier in (None, "cold"):
            store.directory(made, tier=tier).read("data/0.bin")
    assert [(read.tier, read.files) for read in store.catalog.reads()] == [("cold", 1), ("hot", 1)]


def test_threads_lose_no_byte(store: Store) -> None:
    made = make_version(store, FIRST)
    size = _sizes(store, made)["data/0.bin"]
    with store.read_by(TASK), ThreadPoolExecutor(8) as pool:
        directory = store.directory(made)
        list(pool.map(lambda _: directory.read("data/0.bin"), range(200)))
    (read,) = store.catalog.reads()
    assert (read.bytes, read.files) == (200 * size, 1)


def test_a_catalog_that_cannot_be_written_is_a_warning_and_no_error(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_version(store, FIRST)
    with caplog.at_level(logging.WARNING), store.read_by(TASK):
        store.directory(made).read("data/0.bin")
        for path in tmp_path.glob("catalog.db*"):
            path.unlink()
        (tmp_path / "catalog.db").mkdir()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("what was read of 1 versions could not be recorded: catalog sqlite:///")


def test_many_versions_are_written_down_on_the_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_dataflow.storage.reading._MOST_PENDING", 8)
    directories = []
    with store.read_by(TASK):
        for number in range(12):
            with store.draft(f"many/{number}", at=FIRST, fingerprint="4f2a9c") as draft:
                with draft.create("data/x") as writer:
                    writer.write(b"x")
                made = draft.commit(Rows())
            directories.append(store.directory(made))
            directories[-1].read("data/x")
        assert len(store.catalog.reads()) == 8
    reads = store.catalog.reads()
    assert (len(reads), {read.bytes for read in reads}) == (12, {1})


def test_a_folder_that_goes_to_another_process_counts_nothing_there(store: Store) -> None:
    made = make_version(store, FIRST)
    with store.read_by(TASK):
        elsewhere = pickle.loads(pickle.dumps(store.directory(made)))
        assert elsewhere.read("data/0.bin")
    assert store.catalog.reads() == []


def test_counting_costs_next_to_nothing(store: Store) -> None:
    made = make_version(store, FIRST)
    directory = store.place(store.hot, made.dataset, made.version)
    counted = store.directory(made)

    def seconds(act) -> float:
        best = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(200):
                act()
            best.append(time.perf_counter() - start)
        return min(best) / 200

    extra = seconds(lambda: counted.read("data/0.bin")) - seconds(lambda: directory.read("data/0.bin"))
    assert extra < 0.001


def test_a_counted_file_is_a_file_as_libraries_expect_it(store: Store) -> None:
    made = make_version(store, FIRST)
    content = Path(store.directory(made).root, "data/0.bin").read_bytes()
    with store.directory(made).open("data/0.bin") as file:
        assert isinstance(file, io.IOBase)
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.read() == content
        assert file.tell() == len(content)
        assert file.seek(-5, io.SEEK_END) == len(content) - 5
        assert file.read(None) == content[-5:]
        file.seek(0)
        assert b"".join(file.readlines()) == content
    assert file.closed


def test_a_read_is_remembered_once_however_often_it_is_written(store: Store) -> None:
    read = Read(dataset=DATASET, version="20261123T021500Z-4f2a9c", tier="hot", at=FIRST, bytes=1, files=1)
    for _ in range(2):
        store.catalog.record_reads([read])
    assert store.catalog.reads() == [read]
