"""Replication: whole or invisible at every site, passed on as it arrives, resumed, and around sites that fail."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.demo.hadoop import HdfsCluster
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, NotFoundError, TerminalError, TransferError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.staging import STAGING_NAME, Staging
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer import sending
from airflow_dataflow.transfer.limits import Control, Limits, StoppedError
from airflow_dataflow.transfer.replicate import ReplicationOptions, replicate
from airflow_dataflow.transfer.topology import load_topology
from tests.killing import at_once
from tests.memory import peak_bytes
from tests.services.faulty_proxy import Fault, FaultyProxy
from tests.storage.hdfs.clusters import folder_on, options_of
from tests.storage.versions import open_store, settled, tree, visible
from tests.transfer.replicas import CHAIN, DATASET, FILES, PART, SIZE, copy_at, make, sites, total


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PART_BYTES", PART)


@pytest.fixture
def made(store: Store) -> Manifest:
    """Return the only version of the store."""
    return make(store)


# what arrives ---------------------------------------------------------------------------------


def test_a_version_arrives_at_every_site_as_it_is_and_is_recorded(store: Store, made: Manifest, tmp_path: Path) -> None:
    report = replicate(store, f"{DATASET}@latest", sites(tmp_path, [*CHAIN, ("a", "d")]))
    report.check()
    for name in "abcd":
        assert settled(tree(tmp_path / name)) == settled(tree(tmp_path / "hot"))
        assert not (tmp_path / name / STAGING_NAME).exists()
    assert total(report) == (4 * SIZE, 0, 0)
    assert [(done.site, done.source, done.report.files) for done in report.sites] == [
        ("a", "hub", 5),
        ("b", "a", 5),
        ("d", "a", 5),
        ("c", "b", 5),
    ]
    urls = {replica.url for replica in store.catalog.replicas(DATASET, made.version) if replica.tier is None}
    assert urls == {copy_at(tmp_path / name, made).as_uri() for name in "abcd"}
    assert [read.purpose for read in _reads(store)] == ["publish"]


def _reads(store: Store) -> Any:
    store.read_log.flush()
    return store.catalog.reads(DATASET)


def test_a_tier_that_is_a_site_gets_a_copy_of_the_store(store: Store, made: Manifest, tmp_path: Path) -> None:
    replicate(store, made.reference, sites(tmp_path, [("hub", "cold")], cold={"tier": "cold"})).check()
    assert [replica.location for replica in store.catalog.replicas(DATASET, made.version)] == ["cold", "hot"]
    assert store.verify(made)


def test_a_second_time_sends_nothing_and_brings_back_what_somebody_has_removed(
    store: Store, made: Manifest, tmp_path: Path
) -> None:
    replicate(store, made.reference, sites(tmp_path)).check()
    assert total(replicate(store, made.reference, sites(tmp_path))) == (0, 0, 3 * SIZE)
    (copy_at(tmp_path / "b", made) / "data" / "large.bin").unlink()
    assert total(replicate(store, made.reference, sites(tmp_path)))[0] == len(FILES["data/large.bin"])
    assert settled(tree(tmp_path / "b")) == settled(tree(tmp_path / "hot"))


def test_a_site_passes_parts_on_before_it_has_the_file(
    store: Store, made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farthest_has_begun = threading.Event()
    read_range, read = Directory.read_range, Staging.read

    def read_from_hub(self: Directory, relative: str, start: int, length: int, **options: Any) -> bytes:
        if self.root.startswith(str(tmp_path / "hot")) and start >= 4 * PART:
            assert farthest_has_begun.wait(60), "no part has come to the last site yet"
        return read_range(self, relative, start, length, **options)

    def read_staged(self: Staging, name: str, length: int) -> memoryview | None:
        found = read(self, name, length)
        if found is not None and self._site.root.endswith("/b"):
            farthest_has_begun.set()
        return found

    monkeypatch.setattr(Directory, "read_range", read_from_hub)
    monkeypatch.setattr(Staging, "read", read_staged)
    replicate(store, made.reference, sites(tmp_path)).check()
    assert farthest_has_begun.is_set()


@pytest.mark.s3
def test_sites_may_be_of_different_kinds(
    store: Store, tmp_path: Path, bucket: str, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PART_BYTES", 5 << 20)
    made = make(store, FILES | {"data/large.bin": os.urandom((12 << 20) + 3)})
    places = {name: {"url": f"s3://{bucket}/{name}", "storage_options": s3_options} for name in ("s1", "s2")}
    links = [("hub", "s1"), ("s1", "s2"), ("s2", "a")]
    report = replicate(store, made.reference, sites(tmp_path, links, **places))
    report.check()
    assert settled(tree(tmp_path / "a")) == settled(tree(tmp_path / "hot"))
    for name in ("s1", "s2"):
        site = Directory.from_url(f"s3://{bucket}/{name}", s3_options)
        assert visible(site) == [made.reference]
        assert [path for path in site.files() if path.startswith(STAGING_NAME)] == []
    again = replicate(store, made.reference, sites(tmp_path, links, **places))
    assert total(again) == (0, 0, 3 * made.total_bytes)


def test_a_store_that_takes_no_parts_gets_files_in_one_stream(store: Store, made: Manifest, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}-{uuid.uuid4().hex}"
    links = [("hub", "m"), ("m", "a"), ("hub", "n")]
    report = replicate(store, made.reference, sites(tmp_path, links, m={"url": f"{url}/m"}, n={"url": f"{url}/n"}))
    report.check()
    assert settled(tree(tmp_path / "a")) == settled(tree(tmp_path / "hot"))
    for name in ("m", "n"):
        assert visible(Directory.from_url(f"{url}/{name}")) == [made.reference]


@pytest.mark.hdfs
def test_a_site_on_hdfs_passes_on(store: Store, made: Manifest, tmp_path: Path, hdfs_cluster: HdfsCluster) -> None:
    place = folder_on(hdfs_cluster, "hdfs")
    site = {"url": place.url, "storage_options": options_of(hdfs_cluster)}
    report = replicate(store, made.reference, sites(tmp_path, [("hub", "h"), ("h", "a")], h=site))
    report.check()
    assert settled(tree(tmp_path / "a")) == settled(tree(tmp_path / "hot"))
    assert visible(place) == [made.reference]
    assert place.child(STAGING_NAME).folders() == []


@pytest.mark.s3
def test_a_link_that_does_harm_delays_a_replication_and_changes_nothing(
    store: Store, made: Manifest, tmp_path: Path, link: FaultyProxy, link_bucket: str, link_options: dict[str, Any]
) -> None:
    s3 = {"url": f"s3://{link_bucket}/s", "storage_options": link_options}
    for kind in ("flip_answer", "503", "reset_in_answer", "half_answer", "flip_request"):
        link.inject(Fault(kind=kind, share=0.1, times=3))
    report = replicate(store, made.reference, sites(tmp_path, [("hub", "s"), ("s", "a")], s=s3))
    report.check()
    assert link.done
    assert settled(tree(tmp_path / "a")) == settled(tree(tmp_path / "hot"))
    link.clear()
    assert visible(Directory.from_url(s3["url"], link_options)) == [made.reference]


# sites that fail ------------------------------------------------------------------------------


def test_a_site_that_fails_is_named_and_those_below_it_get_the_version_from_above(
    store: Store, made: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("no folder")
    report = replicate(store, made.reference, sites(tmp_path))
    assert {done.site: (done.state, done.source) for done in report.sites} == {
        "a": ("failed", "hub"),
        "b": ("whole", "hub"),
        "c": ("whole", "b"),
    }
    assert visible(Directory.from_url(str(tmp_path / "c"))) == [made.reference]
    assert report.sites[0].error
    with pytest.raises((TerminalError, TransferError), match=rf"1 of 3 sites do not have {made.reference}: a: "):
        report.check()
    assert len(store.catalog.replicas(DATASET, made.version)) == 3
    (tmp_path / "a").unlink()
    again = replicate(store, made.reference, sites(tmp_path))
    again.check()
    assert total(again) == (SIZE, 0, 2 * SIZE)


def test_a_site_that_breaks_in_the_middle_is_left(
    store: Store, made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = Staging.write, [2]

    def break_soon(self: Staging, name: str, data: bytes) -> None:
        if self._site.root.endswith("/a"):
            left[0] -= 1
            if left[0] < 0:
                raise PermissionError("the disk went read-only")
        write(self, name, data)

    monkeypatch.setattr(Staging, "write", break_soon)
    report = replicate(store, made.reference, sites(tmp_path))
    assert {done.site: done.state for done in report.sites} == {"a": "failed", "b": "whole", "c": "whole"}
    assert [done.source for done in report.sites] == ["hub", "hub", "b"]
    assert not (copy_at(tmp_path / "a", made) / MANIFEST_NAME).exists()


def test_errors_that_a_retry_cannot_change_are_terminal_and_others_are_not(
    store: Store, made: Manifest, tmp_path: Path
) -> None:
    place = copy_at(tmp_path / "a", made)
    place.mkdir(parents=True)
    other = made.model_copy(update={"fingerprint": "another"})
    (place / MANIFEST_NAME).write_bytes(other.to_bytes())
    report = replicate(store, made.reference, sites(tmp_path))
    assert isinstance(report.errors["a"], InvalidInputError)
    with pytest.raises(TerminalError, match="already holds another content"):
        report.check()
    assert Manifest.from_bytes((place / MANIFEST_NAME).read_bytes(), "") == other


# damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["data/large.bin", "data/small.bin"])
def test_a_source_that_is_not_what_its_manifest_says_reaches_no_site(
    store: Store, made: Manifest, tmp_path: Path, path: str
) -> None:
    file = copy_at(tmp_path / "hot", made) / path
    file.write_bytes(FILES[path][:-1] + b"?")
    report = replicate(store, made.reference, sites(tmp_path), options=ReplicationOptions(patience_seconds=2))
    assert isinstance(report.errors["a"], CorruptDataError)
    assert {done.state for done in report.sites} == {"failed"}
    for name in "abc":
        assert visible(Directory.from_url(str(tmp_path / name))) == []


@pytest.mark.parametrize("path", ["data/large.bin", "data/small.bin"])
@pytest.mark.parametrize("site", ["hot", "a"])
def test_a_bit_that_flips_on_the_way_is_found_and_sent_again(
    store: Store, made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, site: str
) -> None:
    backend = type(store.tier("hot").directory.backend)
    read_range, left = backend.read_range, [1]

    def flip_one(self: Any, at: str, start: int, length: int, **options: Any) -> bytes:
        data = read_range(self, at, start, length, **options)
        wanted = at.endswith(path) or (path == "data/large.bin" and STAGING_NAME in at)
        if left[0] and at.startswith(str(tmp_path / site)) and wanted and data:
            left[0] -= 1
            return data[:-1] + bytes([data[-1] ^ 1])
        return data

    monkeypatch.setattr(backend, "read_range", flip_one)
    report = replicate(store, made.reference, sites(tmp_path))
    report.check()
    assert left == [0]
    assert report.total.parts_retried >= 1
    for name in "abc":
        assert settled(tree(tmp_path / name)) == settled(tree(tmp_path / "hot"))


def test_a_source_that_lacks_the_version_is_named(store: Store, made: Manifest, tmp_path: Path) -> None:
    options = ReplicationOptions(source="c", targets=("b",))
    report = replicate(store, made.reference, sites(tmp_path), options=options)
    with pytest.raises(TerminalError, match="b: no file"):
        report.check()
    nowhere = load_topology({"sites": {"x": {"url": str(tmp_path / "x")}, "y": {"tier": "cold"}}})
    with pytest.raises(NotFoundError, match="name the source"):
        replicate(store, made.reference, nowhere)
    with pytest.raises(InvalidInputError, match="'hub' receives nothing by this plan; a, b, c do"):
        replicate(store, made.reference, sites(tmp_path), options=ReplicationOptions(at=("hub",)))


# stops, leftovers, memory ---------------------------------------------------------------------


def test_a_stop_ends_within_seconds_and_another_attempt_goes_on(store: Store, made: Manifest, tmp_path: Path) -> None:
    control = Control()
    options = ReplicationOptions(at=("b",))
    threading.Timer(0.3, control.stop).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        replicate(store, made.reference, sites(tmp_path), options=options, control=control)
    assert time.monotonic() - began < 20
    replicate(store, made.reference, sites(tmp_path)).check()


def test_limits_hold_for_all_sites_together(store: Store, tmp_path: Path) -> None:
    made = make(store, {"data/large.bin": os.urandom(10 * PART)})
    began = time.monotonic()
    control = Control(base=Limits(bytes_per_second=10 * PART, parts_at_once=1))
    replicate(store, made.reference, sites(tmp_path, [("hub", "a"), ("a", "b")]), control=control).check()
    # Twenty parts, of which a burst may go at once.
    assert time.monotonic() - began > 1.2


def test_parts_that_nobody_comes_back_for_are_swept(
    store: Store, made: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for site in ("cold", "a"):
        Staging(Directory.from_url(str(tmp_path / site)), "other/data", made.version).write("x/0", b"part")
    assert store.sweep(grace=timedelta(hours=1)) == []
    later = datetime.now(UTC) + timedelta(days=2)
    removed = store.sweep(grace=timedelta(hours=1), now=later)
    assert removed == [f"file://{tmp_path}/cold/{STAGING_NAME}/other.data@{made.version}"]
    assert not (tmp_path / "cold" / STAGING_NAME).exists()
    folder = tmp_path / "a" / STAGING_NAME
    replicate(store, made.reference, sites(tmp_path)).check()
    assert folder.exists()
    for path in (folder, *folder.rglob("*")):
        os.utime(path, times=(0, 0))
    with caplog.at_level(logging.INFO):
        replicate(store, made.reference, sites(tmp_path)).check()
    assert not folder.exists()
    assert "which a replication that was killed has left" in caplog.text


def _replicated(folder: Path, out: str, names: str) -> int:
    sending.PART_BYTES = 8 << 20
    links = [("hub", names[0]), *pairwise(names)]
    replicate(open_store(folder), f"{DATASET}@latest", sites(Path(out), links)).check()
    return peak_bytes()


def test_memory_does_not_grow_with_what_is_sent(tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    make(open_store(tmp_path), {"data/a.bin": block * 96, "data/b.bin": block * 5})
    (peak,) = at_once((_replicated, (tmp_path, str(tmp_path), "abcd")))
    assert peak < 300 << 20
