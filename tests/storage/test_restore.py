"""Archived versions: asked for, waited for, and what is said to those who read them too early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from s3fs import core

from airflow_dataflow.errors import ArchivedError, InvalidInputError, NotFoundError, is_terminal
from airflow_dataflow.storage.rebuild import rebuild
from airflow_dataflow.storage.restore import RestoreWatch, restore_version
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.rebalance import copy_version
from tests.services.archive import DATASET, Archive
from tests.services.ceph import CephS3
from tests.storage.versions import FIRST, make_version, open_store

BULK = {"days": 3, "speed": "Bulk"}


@pytest.fixture
def requests_to_s3(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the requests that are made from now on."""
    made = []
    original = core._error_wrapper

    async def request(function, **options):
        made.append(function.__name__)
        return await original(function, **options)

    monkeypatch.setattr(core, "_error_wrapper", request)
    return made


@pytest.mark.s3
def test_a_restore_asks_for_every_archived_file_and_ends_when_all_can_be_read(archive: Archive) -> None:
    report = restore_version(archive.store, f"{DATASET}@latest", **BULK)
    assert (report.version, report.tier) == (archive.manifest.reference, "cold")
    assert (report.files, report.bytes, report.readable, report.requested) == (3, 7, 0, 3)
    assert not report.complete
    watch = RestoreWatch(archive.store, f"{DATASET}@latest")
    looks = 0
    while not watch.look():
        looks += 1
        assert looks < 50
    assert looks >= 2, "a restore takes several looks"
    assert watch.summary() == {"version": archive.manifest.reference, "tier": "cold", "files": 3, "bytes": 7}
    assert archive.store.verify(archive.manifest)


@pytest.mark.s3
def test_the_readable_copies_live_as_long_as_was_asked_for(archive: Archive) -> None:
    def lifetime() -> int:
        found = archive.folder.fs.call_s3("head_object", Bucket=bucket, Key=key)
        expiry = found["Restore"].partition("expiry-date=")[2].strip('"')
        return round((parsedate_to_datetime(expiry) - datetime.now(UTC)) / timedelta(days=1))

    bucket, _, key = archive.folder.path("data/0.bin").partition("/")
    restore_version(archive.store, DATASET, **BULK)
    _wait(archive)
    assert lifetime() == 3
    again = restore_version(archive.store, DATASET, days=20, speed="Standard")
    assert (again.readable, again.requested, again.complete) == (3, 0, True)
    assert lifetime() == 20


@pytest.mark.s3
def test_a_second_attempt_asks_only_for_what_the_first_one_did_not(archive: Archive) -> None:
    archive.folder.restore("data/0.bin", **BULK)
    report = restore_version(archive.store, DATASET, **BULK)
    assert (report.readable, report.requested) == (0, 2)
    assert str(report) == "3 files with 7 bytes: 0 readable, 2 asked for, 1 on their way"
    assert archive.folder.archive_state("data/0.bin") == "restoring"


@pytest.mark.s3
def test_waiting_for_what_nobody_has_asked_for_is_an_error(archive: Archive) -> None:
    archive.folder.restore("data/0.bin", **BULK)
    with pytest.raises(
        ArchivedError, match=r"data/\w+.bin of .* on tier 'cold' is archived and nobody has asked for it"
    ):
        RestoreWatch(archive.store, DATASET).look()


@pytest.mark.s3
def test_a_look_asks_only_for_the_first_file_that_cannot_be_read_yet(archive: Archive, requests_to_s3) -> None:
    restore_version(archive.store, DATASET, **BULK)
    watch = RestoreWatch(archive.store, DATASET)
    assert not watch.look()
    requests_to_s3.clear()
    assert not watch.look()
    assert requests_to_s3 == ["head_object"]


@pytest.mark.s3
def test_reading_an_archived_version_says_which_operator_helps(archive: Archive) -> None:
    folder = archive.store.directory(archive.store.manifest(DATASET))
    message = r"data/0.bin in bucket '\S+' is archived: have it restored by RestoreDatasetOperator"
    for read in (lambda: folder.read("data/0.bin"), lambda: archive.store.verify(archive.manifest)):
        with pytest.raises(ArchivedError, match=message) as caught:
            read()
        assert is_terminal(caught.value)


@pytest.mark.s3
def test_the_manifest_stays_out_of_the_archive_so_that_the_catalog_can_be_rebuilt(archive: Archive) -> None:
    archive.store.catalog.forget(archive.store.catalog.copies())
    assert rebuild(archive.store).copies == 1
    assert archive.store.manifest(DATASET) == archive.manifest


@pytest.mark.s3
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0, "speed": "Bulk"}, "for at least 1 day, got days=0"),
        ({"days": 3, "speed": "Bluk"}, "no restore speed 'Bluk'; did you mean 'Bulk'"),
        ({"days": 3, "speed": "Bulk", "tier": "clod"}, "no tier named 'clod'; did you mean 'cold'"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(archive: Archive, options, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        restore_version(archive.store, DATASET, **options)
    assert archive.folder.archive_state("data/0.bin") == "archived"


@pytest.mark.s3
def test_a_tier_without_a_copy_has_nothing_to_restore(archive: Archive) -> None:
    with pytest.raises(NotFoundError, match="lies on none of the tiers hot"):
        restore_version(archive.store, DATASET, tier="hot", **BULK)


@pytest.mark.s3
def test_a_file_that_somebody_has_deleted_is_named(archive: Archive) -> None:
    archive.folder.remove("data/1.bin")
    with pytest.raises(NotFoundError, match=r"no file 'data/1.bin' in s3://"):
        restore_version(archive.store, DATASET, **BULK)


def test_tiers_without_archives_have_nothing_to_do(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    make_version(store, FIRST)
    _has_nothing_to_restore(store)


@pytest.mark.ceph
def test_a_storage_class_that_is_an_archive_only_by_its_name_has_nothing_to_do(
    ceph_bucket: str, ceph_s3: CephS3, tmp_path: Path
) -> None:
    store = open_store(tmp_path, cold=(f"s3://{ceph_bucket}/cold", ceph_s3.options))
    manifest = make_version(store, FIRST)
    copy_version(store, manifest.reference, "cold")
    folder = store.place(store.tier("cold"), manifest.dataset, manifest.version)
    assert folder.backend.set_storage_class(folder.root, "GLACIER") == len(manifest.files)
    _has_nothing_to_restore(store, tier="cold")
    assert store.verify(manifest)


def _has_nothing_to_restore(store: Store, **options: str) -> None:
    report = restore_version(store, DATASET, **BULK, **options)
    assert report.files == report.readable == 3
    assert report.complete
    assert RestoreWatch(store, DATASET, **options).look()


def _wait(archive: Archive) -> None:
    watch = RestoreWatch(archive.store, DATASET)
    while not watch.look():
        pass
