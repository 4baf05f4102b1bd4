"""Over a bad link: the exact bytes, or a clear error and nothing half, and then the rest."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest, Rows
from airflow_dataflow.errors import (
    AccessDeniedError,
    CorruptDataError,
    DataflowError,
    SourceChangedError,
    StorageFullError,
    TransferError,
    is_terminal,
)
from airflow_dataflow.storage.backends.local import LocalBackend
from airflow_dataflow.storage.backends.s3 import S3Backend
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.transfer import retry
from airflow_dataflow.transfer.copy import copy_version_files
from tests.services.ceph import CephS3
from tests.services.faulty_proxy import Fault, FaultyProxy, Kind, running_link
from tests.storage.versions import FIRST
from tests.transfer.faults import (
    FILES,
    LARGE,
    OPTIONS,
    PART_BYTES,
    SMALL,
    TOTAL_BYTES,
    WORKERS,
    OpenJournal,
    Place,
    Way,
    assert_nothing_half,
    small_parts,
)

pytestmark = pytest.mark.s3

BREAKS: tuple[Kind, ...] = (
    "500",
    "503",
    "429",
    "reset_before",
    "reset_after",
    "reset_in_answer",
    "half_answer",
    "stall",
)
UP_ONLY: tuple[Kind, ...] = ("reset_in_request", "bad_digest")


def _harm(kind: Kind, **more: Any) -> Fault:
    return Fault(kind=kind, seconds=0.2, **more)


@pytest.mark.parametrize(
    ("way", "kind"),
    [(way, kind) for way in ("up", "down", "across") for kind in BREAKS] + [("up", kind) for kind in UP_ONLY],
    indirect=["way"],
)
def test_trouble_that_passes_is_survived(way: Way, link: FaultyProxy, kind: Kind) -> None:
    link.clear(seed=1)
    link.inject(_harm(kind, share=0.2))
    report = way.run()
    assert link.done[kind] > 0
    assert way.target.content() == FILES
    assert (report.files, report.bytes_sent) == (len(FILES), TOTAL_BYTES)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("way", ["up", "down"], indirect=True)
def test_all_kinds_of_trouble_at_once_end_in_the_exact_bytes(way: Way, link: FaultyProxy, seed: int) -> None:
    link.clear(seed)
    kinds = (*BREAKS, "reset_in_request", "flip_request", "flip_answer", "wrong_etag")
    link.inject(*(_harm(kind, share=0.03) for kind in kinds))
    try:
        way.run()
    except (TransferError, SourceChangedError, CorruptDataError):
        # Damage may come three times in a row; what a store says wrongly of a file is believed when it says it alone.
        assert_nothing_half(way.target)
        link.clear()
        way.run()
    assert way.target.content() == FILES


@pytest.mark.parametrize(
    ("way", "fault", "path"),
    [
        ("up", Fault(kind="flip_request", target="large.bin.*partNumber=3", times=1), LARGE),
        ("up", Fault(kind="flip_request", method="PUT", target="small.bin", times=1), SMALL),
        ("up", Fault(kind="wrong_etag", target="large.bin.*partNumber=3", times=1), LARGE),
        ("down", Fault(kind="flip_answer", method="GET", target="large.bin", skip=2, times=1), LARGE),
        ("down", Fault(kind="flip_answer", method="GET", target="small.bin", times=1), SMALL),
        ("down", Fault(kind="wrong_etag", method="GET", target="small.bin", times=1), SMALL),
        ("down", Fault(kind="wrong_etag", method="GET", target="large.bin", skip=2, times=1), LARGE),
        ("across", Fault(kind="flip_answer", method="GET", target="large.bin", skip=2, times=1), LARGE),
    ],
    indirect=["way"],
)
def test_a_flipped_bit_is_reported_and_repaired(
    way: Way, link: FaultyProxy, fault: Fault, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    link.inject(fault)
    with caplog.at_level(logging.WARNING):
        report = way.run()
    assert link.done == {fault.kind: 1}
    assert way.target.content() == FILES
    assert report.parts_retried >= 1
    assert any(path in record.message for record in caplog.records), caplog.messages


@pytest.mark.parametrize("way", ["up"], indirect=True)
def test_a_small_object_that_arrived_is_kept_although_the_answer_denies_it(way: Way, link: FaultyProxy) -> None:
    link.inject(Fault(kind="wrong_etag", method="PUT", target="small.bin"))
    way.run()
    assert link.done == {"wrong_etag": 1}
    assert way.target.content() == FILES


BIG = random.Random(5).randbytes(12 << 20)


def _make_of_parts(client: Any, url: str, content: bytes, part_bytes: int) -> None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    where = {"Bucket": bucket, "Key": key, "UploadId": upload}
    parts = []
    for number, start in enumerate(range(0, len(content), part_bytes), start=1):
        made = client.upload_part(**where, PartNumber=number, Body=content[start : start + part_bytes])
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("part_bytes", [16 << 20, 8 << 20, 5 << 20, 5_500_000])
def test_a_flipped_bit_in_an_object_that_somebody_else_made_of_parts_is_found_by_its_etag(
    near: Place, far: Place, link: FaultyProxy, behind_client: Any, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(LocalBackend, "part_bytes", lambda _self, _size: 1 << 20)
    _make_of_parts(behind_client, f"{far.url}/big.bin", BIG, part_bytes)
    link.inject(Fault(kind="flip_answer", method="GET", target="big.bin", skip=2, times=1))
    report = Way(far, near).run("big.bin")
    assert link.done == {"flip_answer": 1}
    assert near.content() == {"big.bin": BIG}
    assert report.parts_retried >= 1


@pytest.fixture
def ceph_far(ceph_bucket: str, ceph_s3: CephS3) -> Iterator[tuple[FaultyProxy, Place]]:
    """Return a link to a server that checks what it gets, and a folder behind it."""
    with running_link(ceph_s3.url) as link:
        endpoint = {**ceph_s3.options["client_kwargs"], "endpoint_url": link.url}
        through = {**ceph_s3.options, "client_kwargs": endpoint}
        yield link, Place(f"s3://{ceph_bucket}/far", through, ceph_s3.options)


@pytest.mark.ceph
def test_a_real_server_refuses_a_flipped_bit_and_gets_it_again(
    near: Place,
    ceph_far: tuple[FaultyProxy, Place],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, far = ceph_far
    monkeypatch.setattr(S3Backend, "part_bytes", lambda _self, _size: 5 << 20)
    files = {"big.bin": BIG, "small.bin": FILES[SMALL]}
    near.fill(files)
    link.inject(Fault(kind="flip_request", target="big.bin.*partNumber=2", times=1))
    link.inject(Fault(kind="flip_request", method="PUT", target="small.bin", times=1))
    with caplog.at_level(logging.WARNING):
        report = Way(near, far).run()
    assert (link.done, report.parts_retried) == ({"flip_request": 2}, 2)
    assert "BadDigest" in caplog.text
    assert far.content() == files
    link.clear()
    link.inject(Fault(kind="flip_answer", method="GET", target="(big|small).bin", times=2))
    back = Place(str(tmp_path / "back"))
    report = Way(far, back).run()
    assert (link.done, report.parts_retried) == ({"flip_answer": 2}, 2)
    assert back.content() == files


@pytest.mark.parametrize("path", [LARGE, SMALL])
@pytest.mark.parametrize(("way", "kind"), [("up", "flip_request"), ("down", "flip_answer")], indirect=["way"])
def test_a_link_that_damages_everything_ends_in_an_error_and_nothing_visible(
    way: Way, link: FaultyProxy, kind: Kind, path: str
) -> None:
    link.inject(Fault(kind=kind, target=path.rpartition("/")[2], body=kind == "flip_request"))
    with pytest.raises((TransferError, CorruptDataError), match=path):
        way.run(path)
    assert link.done[kind] > 2
    assert way.target.content() == {}
    link.clear()
    way.run()
    assert way.target.content() == FILES


@pytest.mark.parametrize(
    ("way", "kind", "error", "words"),
    [
        ("up", "expired", AccessDeniedError, "ExpiredToken"),
        ("down", "expired", AccessDeniedError, "ExpiredToken"),
        ("up", "full", StorageFullError, "raise the quota"),
    ],
    indirect=["way"],
)
def test_what_no_retry_can_change_ends_at_once_and_the_next_run_completes_it(
    way: Way, link: FaultyProxy, journal: OpenJournal, kind: Kind, error: type[DataflowError], words: str
) -> None:
    link.inject(Fault(kind=kind, target="large.bin", skip=6))
    with journal() as kept, pytest.raises(error, match=words):
        way.run(LARGE, journal=kept)
    assert 0 < link.done[kind] <= 2 * WORKERS
    assert way.target.content() == {}
    link.clear()
    with journal() as kept:
        report = way.run(LARGE, journal=kept)
    assert way.target.content() == {LARGE: FILES[LARGE]}
    assert report.bytes_sent + report.bytes_resumed == len(FILES[LARGE])
    assert report.bytes_resumed >= PART_BYTES


DOWN_SECONDS = float(os.environ.get("DATAFLOW_TEST_DOWN_SECONDS", "8"))
"""How long the link is down; 30 by hand."""


@pytest.mark.parametrize("way", ["up", "down"], indirect=True)
def test_a_link_that_is_down_for_a_while_is_survived(way: Way, link: FaultyProxy) -> None:
    link.inject(Fault(kind="down", target="large.bin", skip=4, times=1, seconds=DOWN_SECONDS))
    report = way.run()
    assert link.done == {"down": 1}
    assert report.seconds >= 0.9 * DOWN_SECONDS
    assert way.target.content() == FILES


def test_a_link_that_stays_down_is_an_error_that_airflow_tries_again(
    near: Place, far: Place, link: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name, value in (*small_parts(), (retry, "RETRY_SECONDS", 1.0)):
        monkeypatch.setattr(owner, name, value)
    near.fill(FILES)
    link.inject(Fault(kind="down", target="large.bin", skip=2, times=1, seconds=60))
    with pytest.raises(TransferError, match="bucket") as caught:
        Way(near, far).run()
    assert not is_terminal(caught.value)
    link.up()
    assert_nothing_half(far)
    Way(near, far).run()
    assert far.content() == FILES


@pytest.mark.parametrize("way", ["up", "down"], indirect=True)
def test_a_server_that_stops_answering_is_given_up_and_asked_again(way: Way, link: FaultyProxy) -> None:
    impatient = {"config_kwargs": {"read_timeout": 1}}
    source, target = (
        replace(place, options={**place.options, **impatient}) if place.past else place
        for place in (way.source, way.target)
    )
    link.inject(Fault(kind="stall", target="large.bin", skip=3, times=2, seconds=5))
    report = Way(source, target).run()
    assert link.done == {"stall": 2}
    # obstore, which reads the small parts of these tests, has more patience.
    assert report.parts_retried >= 1 or way.source.past
    assert way.target.content() == FILES


@pytest.mark.ceph
def test_an_upload_that_somebody_aborts_under_way_is_begun_anew(
    near: Place, ceph_far: tuple[FaultyProxy, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, far = ceph_far
    monkeypatch.setattr(S3Backend, "part_bytes", lambda _self, _size: 5 << 20)
    fs, (bucket, _, prefix) = far.inside.fs, far.inside.root.partition("/")
    near.fill({"big.bin": BIG})

    def abort() -> None:
        for upload in fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)["Uploads"]:
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    link.inject(Fault(kind="act", method="PUT", target="big.bin", skip=2, times=1, act=abort))
    way = Way(near, far)
    began = time.monotonic()
    try:
        way.run("big.bin")
    except TransferError:
        assert far.content() == {}
        way.run("big.bin")
    assert link.done == {"act": 1}
    assert far.content() == {"big.bin": BIG}
    assert time.monotonic() - began < 60, "what is gone for good was asked for again and again"
    assert not fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads")


@pytest.fixture
def version(tmp_path: Path, near: Place) -> tuple[Manifest, Directory]:
    """Return a version of files with many parts, and its folder."""
    store = Store([Tier(name="hot", tier_class="hot", url=near.url)], Catalog(f"sqlite:///{tmp_path}/catalog.db"))
    with store.draft("support/raw", at=FIRST, fingerprint="4f2a9c") as draft:
        for path, content in FILES.items():
            with draft.create(f"data/{path}") as writer:
                writer.write(content)
        manifest = draft.commit(Rows())
    return manifest, store.directory(manifest)


@pytest.mark.parametrize("fault", ["flip_request", "flip_answer", "reset_after", "503"])
@pytest.mark.parametrize("path", [LARGE, SMALL, MANIFEST_NAME])
@pytest.mark.usefixtures("small")
def test_a_version_goes_there_and_back_over_a_bad_link_and_its_manifest_says_so(
    version: tuple[Manifest, Directory], near: Place, far: Place, link: FaultyProxy, fault: Kind, path: str
) -> None:
    manifest, here = version
    method = {"flip_answer": "GET", "flip_request": "PUT"}.get(fault, "")
    link.inject(_harm(fault, method=method, target=path.rpartition("/")[2], times=2, skip=path == LARGE))
    there, back = Directory.from_url(far.url, far.options), Directory.from_url(f"{near.url}/back")
    up = copy_version_files(manifest, here, there, options=OPTIONS)
    down = copy_version_files(manifest, there, back, options=OPTIONS)
    assert link.done[fault] > 0
    if fault.startswith("flip"):
        assert up.parts_retried + down.parts_retried > 0
    for folder in (far.inside, back):
        assert {path: folder.read(f"data/{path}") for path in FILES} == FILES
        assert Manifest.from_bytes(folder.read(MANIFEST_NAME), "it") == manifest


@pytest.mark.usefixtures("small")
def test_a_version_whose_copy_is_damaged_is_not_copied_on_and_says_where_to_look(
    version: tuple[Manifest, Directory], near: Place, far: Place
) -> None:
    manifest, here = version
    there, back = Directory.from_url(far.url, far.options), Directory.from_url(f"{near.url}/back")
    copy_version_files(manifest, here, there, options=OPTIONS)
    broken = bytearray(FILES[LARGE])
    broken[3 * PART_BYTES] ^= 1
    Place(far.url, past=far.past).fill({f"data/{LARGE}": bytes(broken)})
    with pytest.raises(CorruptDataError, match="restore it from another copy"):
        copy_version_files(manifest, there, back, options=OPTIONS)
    assert not back.exists(MANIFEST_NAME)
    assert not back.exists(f"data/{LARGE}")


@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.usefixtures("small")
def test_a_manifest_that_may_have_arrived_is_not_taken_for_that_of_somebody_else(
    version: tuple[Manifest, Directory], far: Place, link: FaultyProxy, kind: Kind
) -> None:
    manifest, here = version
    link.inject(_harm(kind, method="PUT", target=MANIFEST_NAME, times=1))
    copy_version_files(manifest, here, Directory.from_url(far.url, far.options), options=OPTIONS)
    assert link.done[kind] <= 1
    assert Manifest.from_bytes(far.inside.read(MANIFEST_NAME), "it") == manifest
