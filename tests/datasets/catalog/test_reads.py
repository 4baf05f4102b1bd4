"""The catalog remembers who has read what, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.reads import Purpose, Read, Reader

START = datetime(2026, 11, 1, 2, 15, 0, 123456, tzinfo=UTC)
VERSION = "20261101T021500Z-4f2a9c"


def _read(day: int, dataset: str = "support/dialogs", purpose: Purpose = "use", reader: Reader | None = None) -> Read:
    return Read(
        dataset=dataset,
        version=VERSION,
        tier="hot",
        at=START + timedelta(days=day),
        bytes=5_000_000_000 + day,
        files=day,
        purpose=purpose,
        reader=reader or Reader(command="clean"),
    )


@pytest.fixture
def catalog(catalog_url: str) -> Catalog:
    return Catalog(catalog_url)


def test_a_read_comes_back_as_it_was_to_the_microsecond(catalog: Catalog) -> None:
    reader = Reader(dag_id="nightly", run_id="scheduled__2026-11-01", task_id="x", map_index=3, try_number=1)
    read = _read(0, reader=reader)
    catalog.record_reads([read])
    assert catalog.reads() == [read]
    assert str(catalog.reads()[0].reader) == "nightly.x[3] in scheduled__2026-11-01"


def test_reads_are_found_by_dataset_time_and_purpose_the_last_first(catalog: Catalog) -> None:
    own = [_read(day) for day in range(4)]
    other, check = _read(1, "support/other"), _read(2, purpose="verify")
    catalog.record_reads([own[2], own[0], other, own[3], check, own[1]])
    assert len(catalog.reads()) == 6
    day = timedelta(days=1)
    assert catalog.reads("support/dialogs", since=START + day, until=START + 3 * day, purposes=["use"]) == own[2:0:-1]
    assert catalog.reads("support/dialogs", limit=2)[0] == own[3]
    assert catalog.reads("support/other") == [other]
    assert catalog.reads(purposes={"verify"}) == [check]
    assert catalog.reads("support/dialogs", since=START + 9 * day) == []


def test_reads_of_a_version_that_is_gone_stay(catalog: Catalog) -> None:
    catalog.record_reads([_read(0)])
    catalog.remove("support/dialogs", VERSION)
    assert len(catalog.reads()) == 1


def test_names_longer_than_a_column_are_cut(catalog: Catalog) -> None:
    reader = Reader(dag_id="d" * 250, run_id="r" * 400, task_id="t" * 250, command="c" * 200)
    catalog.record_reads([_read(0, reader=reader)])
    (found,) = catalog.reads()
    assert found.reader.run_id == "r" * 250
    assert found.reader.command == "c" * 100


def test_old_reads_are_forgotten_and_a_clock_that_jumps_ahead_forgets_nothing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert catalog.forget_reads(timedelta(days=400)) == 0
    now = datetime.now(UTC)
    reads = [
        Read(dataset="a", version=VERSION, tier="hot", at=now - timedelta(days=days), bytes=1, files=1)
        for days in (0, 399, 401)
    ]
    catalog.record_reads(reads)
    assert catalog.forget_reads(timedelta(days=400)) == 1
    monkeypatch.setattr(
        "airflow_dataflow.datasets.catalog.catalog.now",
        lambda: datetime(2099, 1, 1),  # noqa: DTZ001 - as tables have it
    )
    assert catalog.forget_reads(timedelta(days=400)) == 0
    assert len(catalog.reads()) == 2
