"""A folder that goes over HDFS and S3 and back: the same names, the same bytes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport
from tests.services.ceph import CephS3
from tests.storage.hdfs.clusters import SCHEMES, folder_on, options_of

pytestmark = [pytest.mark.hdfs, pytest.mark.ceph]
LARGE = bytes(range(256)) * (4096 * 6) + b"end"
LONGEST_NAME_BYTES = 255
ODD = {
    "empty": b"",
    "nested/deep/er/and/deeper/empty": b"",
    "nested/large.bin": LARGE,
    "n" * LONGEST_NAME_BYTES: b"long",
    f"{'n' * 200}/{'m' * 200}/{'o' * 200}": b"longer",
    "ä" * (LONGEST_NAME_BYTES // 2): b"long in bytes",
    "café": b"composed",
    "cafe\u0301": b"decomposed",
    "日本語/😀.txt": b"unicode",
    "a b+c%20d#e&f=g,h": b"signs",
    ".hidden/_under": b"hidden",
}


class Places:
    """A folder on each of the stores, and what opens them."""

    def __init__(self, folder: Path, hdfs: Directory, s3: str, access: Mapping[str, dict[str, Any]]) -> None:
        self.source, self.back = folder / "source", folder / "back"
        self.hdfs, self.s3 = hdfs, s3
        self._access = access

    def mirror(self, source: str, target: str, **options: Any) -> TransferReport:
        """Copy what is new, and remove what is gone."""
        return copy_path(
            source,
            target,
            source_options=self._access.get(source),
            target_options=self._access.get(target),
            options=TransferOptions(mirror=True, most_removed_fraction=1, **options),
        )

    def round_trip(self) -> list[TransferReport]:
        """Let the source go over HDFS and S3 to another folder here."""
        stops = [str(self.source), self.hdfs.url, self.s3, str(self.back)]
        return [self.mirror(*pair) for pair in pairwise(stops)]


@pytest.fixture(params=SCHEMES)
def places(request: pytest.FixtureRequest, hdfs_cluster: Any, ceph_bucket: str, ceph_s3: CephS3, tmp_path: Path) -> Any:
    """Return an empty folder on each store."""
    hdfs, s3 = folder_on(hdfs_cluster, request.param), f"s3://{ceph_bucket}/mirror"
    return Places(tmp_path, hdfs, s3, {hdfs.url: options_of(hdfs_cluster), s3: ceph_s3.options})


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def numbered(count: int) -> dict[str, bytes]:
    return {f"{number % 100:02}/{number}.txt": f"number {number}".encode() for number in range(count)}


def test_a_mirror_over_all_stores_is_identical_and_follows_its_source(places: Places) -> None:
    files = ODD | numbered(200)
    fill(places.source, files)
    for report in places.round_trip():
        assert (report.files, report.bytes_sent) == (len(files), sum(map(len, files.values())))
    assert tree(places.back) == files
    assert places.hdfs.files() == {path: len(content) for path, content in files.items()}

    for report in places.round_trip():
        assert (report.bytes_sent, report.files_removed) == (0, 0)

    lost = ["café", "nested/deep/er/and/deeper/empty", "07/107.txt", "n" * LONGEST_NAME_BYTES]
    for path in lost:
        (places.source / path).unlink()
    fill(places.source, {"empty": b"no more", "nested/large.bin": LARGE[:-1] + b"!"})
    for report in places.round_trip():
        assert report.files_removed == len(lost)
    assert tree(places.back) == tree(places.source)
    assert sorted(places.hdfs.files()) == sorted(tree(places.source))


@pytest.mark.e2e
@pytest.mark.parametrize("places", ["hdfs"], indirect=True)
def test_ten_thousand_files_go_over_all_stores(places: Places) -> None:
    files = numbered(10_000)
    fill(places.source, files)
    reports = places.round_trip()
    assert [report.files for report in reports] == [len(files)] * 3
    assert tree(places.back) == files
