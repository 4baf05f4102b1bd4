"""Manifests: what is written is what is read, and nothing that does not add up can be written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_dataflow.datasets.manifest import (
    FileEntry,
    Manifest,
    Rows,
    SourceFile,
    fingerprint_of,
    new_version_id,
)
from airflow_dataflow.errors import CorruptDataError, InvalidInputError

VERSION = "20261123T021500Z-4f2a9c"
DIGEST = "xxh3-128:" + "0" * 32
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
ENTRIES = st.builds(
    FileEntry,
    path=TEXT,
    bytes=st.integers(0, 10**15),
    digest=st.from_regex(r"xxh3-128:[0-9a-f]{32}", fullmatch=True),
    rows=st.none() | st.integers(0, 10**12),
)
SOURCES = st.builds(
    SourceFile, path=TEXT, digest=TEXT, reason=st.none() | TEXT, outputs=st.lists(TEXT, max_size=3).map(tuple)
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    reasons = draw(st.dictionaries(TEXT, st.integers(0, 10**9), max_size=4))
    kept, quarantined = draw(st.integers(0, 10**12)), sum(reasons.values())
    return Manifest(
        dataset="support/dialogs",
        version=VERSION,
        kind=draw(st.sampled_from(["dataset", "model"])),
        fingerprint=draw(st.from_regex("[0-9a-f]{64}", fullmatch=True)),
        parents=tuple(draw(st.lists(TEXT, max_size=3))),
        rows_in=kept + quarantined,
        rows_out=kept,
        rows_quarantined=quarantined,
        quarantined_by_reason=reasons,
        columns=draw(st.dictionaries(TEXT, TEXT, max_size=4)),
        recipe=draw(st.none() | st.dictionaries(TEXT, JSON, max_size=3)),
        sources=tuple(draw(st.lists(SOURCES, max_size=3))),
        statistics=draw(st.dictionaries(TEXT, JSON, max_size=3)),
        files=tuple(draw(st.lists(ENTRIES, max_size=4, unique_by=lambda entry: entry.path))),
    )


@given(manifests())
def test_a_manifest_is_read_as_it_was_written_and_written_as_it_was_read(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data, "here") == manifest
    assert Manifest.from_bytes(data, "here").to_bytes() == data
    assert json.loads(data)["version"] == VERSION


@given(st.dictionaries(TEXT, JSON, min_size=2))
def test_the_order_of_keys_changes_neither_bytes_nor_fingerprint(content: dict[str, Any]) -> None:
    turned = dict(reversed(content.items()))
    assert fingerprint_of(content) == fingerprint_of(turned)
    assert _manifest(statistics=content).to_bytes() == _manifest(statistics=turned).to_bytes()


def test_a_fingerprint_is_the_sha256_of_compact_json_with_sorted_keys() -> None:
    assert fingerprint_of({"b": [1, 2.5, None], "a": "ä"}) == (
        "4b12564ba8344d191c82cc500017c21887ae57ff2cd79203f3afc1500a4f50d5"
    )


MOMENTS = st.builds(
    lambda seconds, hours: datetime.fromtimestamp(seconds, timezone(timedelta(hours=hours))),
    st.integers(0, 10**11),
    st.integers(-14, 14),
)


@given(MOMENTS, MOMENTS)
def test_version_ids_sort_by_time(one: datetime, other: datetime) -> None:
    ids = new_version_id(one, "0" * 64), new_version_id(other, "0" * 64)
    assert (ids[0] < ids[1]) == (one < other)
    assert (ids[0] == ids[1]) == (one == other)
    assert _manifest(version=ids[0]).created_at == one


def test_the_time_zone_of_a_machine_decides_nothing() -> None:
    at = datetime(2026, 11, 23, 3, 15, tzinfo=timezone(timedelta(hours=1)))
    assert new_version_id(at, "4f2a9c" + "0" * 58) == VERSION
    with pytest.raises(InvalidInputError, match="needs a time zone, got 2026-11-23T03:15:00"):
        new_version_id(at.replace(tzinfo=None), "4f2a9c")


def test_rows_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValidationError, match="10 rows in, but 8 out and 1 quarantined"):
        Rows(rows_in=10, rows_out=8, rows_quarantined=1, quarantined_by_reason={"duplicate": 1})
    with pytest.raises(ValidationError, match="reasons do not add up to 2 quarantined rows"):
        Rows(rows_in=10, rows_out=8, rows_quarantined=2, quarantined_by_reason={"duplicate": 1})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Rows(rows_in=1, rows_out=2, rows_quarantined=-1)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "../etc"},
        {"version": "latest"},
        {"kind": "picture"},
        {"format_version": 2},
        {"colour": "red"},
        {"files": [{"path": "a", "bytes": 1, "digest": DIGEST}] * 2},
        {"files": [{"path": "a", "bytes": -1, "digest": DIGEST}]},
        {"files": [{"path": "a", "bytes": 1, "digest": "md5:0"}]},
        {"rows_in": 1},
    ],
    ids=str,
)
def test_what_is_no_manifest_is_named(changes: dict[str, Any]) -> None:
    content = json.loads(_manifest().to_bytes()) | changes
    with pytest.raises(CorruptDataError, match=r"file:///tier/_manifest\.json is not a manifest"):
        Manifest.from_bytes(json.dumps(content).encode(), "file:///tier/_manifest.json")


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff\xfe", b"[]"])
def test_damaged_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match="is not a manifest"):
        Manifest.from_bytes(data, "x")


def test_a_number_that_is_none_is_written_as_null() -> None:
    manifest = _manifest(statistics={"mean": float("nan"), "bounds": [float("-inf"), 1.0]})
    assert Manifest.from_bytes(manifest.to_bytes(), "x").statistics == {"mean": None, "bounds": [None, 1.0]}


def test_a_source_whose_name_is_no_text_is_named_all_the_same() -> None:
    name = b"caf\xe9.csv".decode("utf-8", "surrogateescape")
    manifest = _manifest(sources=(SourceFile(path=name, digest=DIGEST),))
    assert Manifest.from_bytes(manifest.to_bytes(), "x").sources[0].path == "caf\\udce9.csv"


def test_files_are_found_by_folder() -> None:
    paths = ["data/a", "data/b/c", "database/x", "report.html"]
    manifest = _manifest(files=tuple(FileEntry(path=path, bytes=2, digest=DIGEST) for path in paths))
    assert [entry.path for entry in manifest.files_under("data")] == ["data/a", "data/b/c"]
    assert manifest.total_bytes == 8
    assert manifest.reference == f"support/dialogs@{VERSION}"
    assert manifest.created_at == datetime(2026, 11, 23, 2, 15, tzinfo=UTC)


def _manifest(**changes: Any) -> Manifest:
    return Manifest(**{"dataset": "support/dialogs", "version": VERSION, "fingerprint": "0" * 64} | changes)
