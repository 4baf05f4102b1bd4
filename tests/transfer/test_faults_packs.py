"""Packed and compressed files over a link that does harm: what is read is what was sent, or nothing is."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.errors import CorruptDataError, TransferError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.options import TransferOptions
from tests.services.faulty_proxy import Fault, FaultyProxy, Kind
from tests.transfer.faults import FILES, OPTIONS, Place, Way

LAYOUTS: dict[str, dict[str, Any]] = {"packed": {"pack": True}, "compressed": {"compress": 3}}

pytestmark = [pytest.mark.s3, pytest.mark.usefixtures("small"), pytest.mark.parametrize("layout", LAYOUTS)]


def _options(layout: str) -> TransferOptions:
    return replace(OPTIONS, **LAYOUTS[layout])


@pytest.mark.parametrize("kind", ["flip_request", "503", "reset_after", "reset_in_request", "wrong_etag"])
def test_objects_of_files_arrive_whole(near: Place, far: Place, link: FaultyProxy, layout: str, kind: Kind) -> None:
    near.fill(FILES)
    link.inject(Fault(kind=kind, method="PUT", target="_packs/", times=1))
    report = Way(near, far).run(options=_options(layout))
    assert link.done == {kind: 1}
    assert far.content() == FILES
    assert (report.bytes_sent, report.files) == (sum(map(len, FILES.values())), len(FILES))
    if kind == "flip_request":
        assert report.parts_retried >= 1


@pytest.mark.parametrize("kind", ["flip_request", "flip_answer", "503", "reset_after", "reset_in_answer"])
def test_the_layout_itself_arrives_whole(near: Place, far: Place, link: FaultyProxy, layout: str, kind: Kind) -> None:
    near.fill(FILES)
    method = {"flip_request": "PUT", "flip_answer": "GET"}.get(kind, "")
    link.inject(Fault(kind=kind, method=method, target="_layout.json", times=1))
    Way(near, far).run(options=_options(layout))
    assert far.content() == FILES


@pytest.mark.parametrize("kind", ["flip_answer", "503", "reset_in_answer", "half_answer"])
def test_files_come_back_whole_out_of_objects(
    near: Place,
    far: Place,
    link: FaultyProxy,
    layout: str,
    kind: Kind,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    near.fill(FILES)
    Way(near, far).run(options=_options(layout))
    link.clear()
    link.inject(Fault(kind=kind, method="GET", target="_packs/", times=1))
    back = Place(str(tmp_path / "back"))
    with caplog.at_level(logging.WARNING):
        Way(far, back).run()
    assert link.done == {kind: 1}
    assert back.content() == FILES
    if kind == "flip_answer":
        assert caplog.records, "damage was repaired without a word"


def test_an_object_that_is_damaged_at_rest_is_an_error_and_nothing_wrong_is_copied(
    near: Place, far: Place, layout: str, tmp_path: Path
) -> None:
    near.fill(FILES)
    Way(near, far).run(options=_options(layout))
    plain = Directory.from_url(f"{far.url}/_packs", far.past)
    for name in plain.files():
        content = bytearray(plain.read(name))
        content[len(content) // 2] ^= 1
        with plain.create(name) as writer:
            writer.write(bytes(content))
    back = Place(str(tmp_path / "back"))
    with pytest.raises((CorruptDataError, TransferError)):
        Way(far, back).run()
    assert back.content().items() <= FILES.items()
