"""What lies at a source, and what is left alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from airflow_dataflow.errors import EmptySourceError
from airflow_dataflow.ingest.landing import Landing, LocalFile

SUFFIXES = {".csv", ".jsonl"}


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_files_are_listed_by_name_and_the_rest_is_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "b.csv", "a.JSONL.GZ", "sub/c.csv.zst")
    fill(tmp_path, ".hidden.csv", "_SUCCESS", "_temporary/d.csv", ".spark/e.csv")
    fill(tmp_path, "f.csv.tmp", "g.csv.part", ".b.csv.crc", "h.csv.partial", "i.txt", "csv", "j.gz")
    with caplog.at_level(logging.INFO):
        landing = Landing(str(tmp_path), SUFFIXES)
    assert [file.name for file in landing.files] == ["a.JSONL.GZ", "b.csv", "sub/c.csv.zst"]
    assert len(landing.ignored) == 11
    [message] = [record.getMessage() for record in caplog.records]
    assert "ignoring 11 files" in message
    assert "1 .txt" in message


def test_a_glob_names_files_from_its_first_wild_folder_on(tmp_path: Path) -> None:
    fill(tmp_path, "in/2026/a.csv", "in/2027/a.csv", "in/2027/b.jsonl", "other/c.csv")
    landing = Landing(f"{tmp_path}/in/20*/*.csv", SUFFIXES)
    assert [file.name for file in landing.files] == ["2026/a.csv", "2027/a.csv"]
    assert [file.name for file in Landing(f"{tmp_path}/in/**/b.*", SUFFIXES).files] == ["2027/b.jsonl"]


def test_signs_of_a_glob_in_a_real_name_are_no_glob(tmp_path: Path) -> None:
    fill(tmp_path, "in [1]/a.csv", "in 1/b.csv")
    assert [file.name for file in Landing(f"{tmp_path}/in [1]", SUFFIXES).files] == ["a.csv"]
    assert [file.name for file in Landing(f"{tmp_path}/in [1]/a.csv", SUFFIXES).files] == ["a.csv"]


def test_a_named_file_is_read_even_when_it_is_hidden(tmp_path: Path) -> None:
    fill(tmp_path, "_a.csv")
    assert [file.name for file in Landing(str(tmp_path / "_a.csv"), SUFFIXES).files] == ["_a.csv"]


def test_an_empty_source_says_what_would_be_read(tmp_path: Path) -> None:
    fill(tmp_path, "a.xlsx")
    with pytest.raises(
        EmptySourceError, match=r"1 files were ignored, such as 'a\.xlsx'; readable are \.csv \.jsonl, also"
    ):
        Landing(str(tmp_path), SUFFIXES).refuse_empty()


@pytest.mark.parametrize(
    ("name", "suffix", "codec"),
    [
        ("a.csv", ".csv", None),
        ("b/a.b.CSV.GZ", ".csv", "gzip"),
        ("a.jsonl.zst", ".jsonl", "zstd"),
        ("a.tsv.bz2", ".tsv", "bz2"),
        ("a.parquet.xz", ".parquet", "xz"),
    ],
)
def test_suffixes_tell_format_and_compression(name: str, suffix: str, codec: str | None) -> None:
    file = LocalFile(name, Path(name))
    assert (file.suffix, file.codec) == (suffix, codec)
