"""Copies inside one store."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dataflow.errors import SourceChangedError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.rebalance import copy_version
from tests.storage.versions import FIRST, make_version

FILES = {"a": b"1" * 1000, "deep/b+c %20": b"", "large": b"22" * (3 << 20)}


@pytest.fixture
def there(bucket: str, s3_options: dict[str, Any]) -> Directory:
    """Return a prefix of a few objects."""
    there = Directory.from_url(f"s3://{bucket}/there", s3_options)
    for path, content in FILES.items():
        there.put(path, content)
    return there


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files whose bytes come through this process."""
    seen: list[str] = []
    for name in ("open", "read_range"):
        original = getattr(Directory, name)

        def read(self: Directory, relative: str, *args: Any, _original: Any = original, **options: Any) -> Any:
            seen.append(relative)
            return _original(self, relative, *args, **options)

        monkeypatch.setattr(Directory, name, read)
    return seen


@pytest.mark.s3
@pytest.mark.parametrize("verify", ["auto", "full"])
def test_objects_are_copied_by_their_store_and_read_only_when_somebody_wants_it(
    there: Directory, s3_options: dict[str, Any], reads: list[str], verify: Any
) -> None:
    here = Directory.from_url(there.url.replace("/there", "/here"), s3_options)
    how = TransferOptions(verify=verify)
    report = copy_path(there.url, here.url, source_options=s3_options, target_options=s3_options, options=how)
    assert report.bytes_sent == sum(map(len, FILES.values()))
    assert sorted(reads) == ([] if verify == "auto" else sorted([*FILES, *FILES]))
    assert {path: here.read(path) for path in here.files()} == FILES
    reads.clear()
    again = copy_path(there.url, here.url, source_options=s3_options, target_options=s3_options)
    assert (again.bytes_skipped, reads) == (report.bytes_sent, [])


@pytest.mark.s3
def test_an_object_that_is_replaced_while_it_is_copied_is_noticed(
    there: Directory, s3_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Directory.copy

    def copy(self: Directory, relative: str, *args: Any) -> None:
        self.put(relative, b"new")
        original(self, relative, *args)

    monkeypatch.setattr(Directory, "copy", copy)
    with pytest.raises(SourceChangedError, match="was replaced while it was being copied"):
        copy_path(f"{there.url}/a", f"{there.url}/copy", source_options=s3_options, target_options=s3_options)
    assert not there.exists("copy")


@pytest.mark.parametrize(("verify", "count"), [("auto", 0), ("full", 3)])
def test_a_move_on_one_disk_reads_nothing_again_unless_somebody_wants_it(
    store: Store, reads: list[str], verify: Any, count: int
) -> None:
    made = make_version(store, FIRST)
    reads.clear()
    copy_version(store, made.reference, "warm", options=TransferOptions(verify=verify))
    assert len([path for path in reads if path.endswith(".bin")]) == count
