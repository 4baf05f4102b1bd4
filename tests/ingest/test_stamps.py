"""What is not read again, and how several places become one landing folder."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.ingest.landing import Landing, LandingFile, LocalFile, Place
from airflow_dataflow.ingest.stamps import STAMPS_NAME
from airflow_dataflow.storage.directory import Directory
from tests.ingest.lab import MOMENT, Lab, reasons, sources

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files whose bytes were asked for, as they come."""
    names: list[str] = []
    original = Landing.fetch

    def spy(self: Landing, file: LandingFile, scratch: Path) -> LocalFile:
        names.append(file.name)
        return original(self, file, scratch)

    monkeypatch.setattr(Landing, "fetch", spy)
    return names


@pytest.mark.s3
def test_a_night_over_an_unchanged_bucket_lists_it_once_and_reads_nothing(
    lab: Lab, bucket: str, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiobotocore.client import AioBaseClient

    landing = Directory.from_url(f"s3://{bucket}/landing", s3_options)
    content = {
        landing.path(f"{day:02}/{number}.csv"): f"x\n{number}\n".encode() for day in range(3) for number in range(40)
    }
    landing.fs.pipe(content)
    place = Place(f"s3://{bucket}/landing", s3_options)
    first = ingest(lab.store, place, "raw", at=FIRST)
    requests: Counter[str] = Counter()
    call = AioBaseClient._make_api_call

    async def counted(self: Any, operation: str, arguments: Any) -> Any:
        requests[operation] += 1
        return await call(self, operation, arguments)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", counted)
    assert ingest(lab.store, place, "raw", at=FIRST + timedelta(days=1)) == first
    assert requests == {"ListObjectsV2": 1}


def test_files_of_several_places_have_names_that_tell_them_apart(lab: Lab) -> None:
    for name in ("a/x.csv", "a/more/y.csv", "b/x.csv", "b/z.jsonl", "c/x.csv", "d.csv"):
        lab.land(name, '{"x": 1}\n' if name.endswith("jsonl") else f"x\n{ord(name[0])}\n")
    folder = str(lab.landing)
    places = [f"{folder}/a", f"{folder}/b/*.csv", f"{folder}/d.csv", f"{folder}/a/more"]
    manifest = ingest(lab.store, places, "raw", at=FIRST)
    assert list(sources(manifest)) == ["a/more/y.csv", "a/x.csv", "b/x.csv", "d.csv"]
    assert reasons(manifest)["a/x.csv"] == "duplicate_file"
    alone = ingest(lab.store, [f"{folder}/b"], "alone", at=FIRST)
    assert list(sources(alone)) == ["x.csv", "z.jsonl"]


def test_equal_content_under_other_times_makes_the_same_version_and_is_read_once(lab: Lab, looks: list[str]) -> None:
    lab.land("a.csv", "x\n1\n")
    first = lab.night(1)
    content = lab.content(first)
    assert b"mtime" not in content["_manifest.json"]
    lab.land("a.csv", "x\n1\n", moment=MOMENT + 60)
    looks.clear()
    assert lab.night(2) == first
    assert looks == ["a.csv"]
    looks.clear()
    assert lab.night(3) == first
    assert looks == []


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"URL": [1]}', b"{"])
def test_stamps_that_are_lost_or_damaged_only_cost_another_look(lab: Lab, looks: list[str], damage: bytes) -> None:
    lab.land("a.csv", "x\n1\n")
    first = lab.night(1)
    (stamps,) = lab.landing.parent.rglob(STAMPS_NAME)
    stamps.write_bytes(damage.replace(b"URL", (lab.landing / "a.csv").as_uri().encode()))
    looks.clear()
    assert lab.night(2) == first
    assert looks == ["a.csv"]
    assert json.loads(stamps.read_bytes()).keys() == {(lab.landing / "a.csv").as_uri()}
