"""CSV files as people and programs write them."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import pytest
import zstandard

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, csv
from airflow_dataflow.ingest.readers.csv import Csv
from airflow_dataflow.ingest.rejects import Rejects

Row = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, content: bytes, name: str = "a.csv", **options: Any) -> tuple[list[Row], list[Row]]:
    """Return the good rows, with their lines under ``""``, and the rejected ones."""
    path = folder / name
    path.write_bytes(content)
    rejects = Rejects(name, folder / "rejects")
    batches = list(Csv(**options).read(LocalFile(name, path), rejects))
    bad = [row for batch in rejects.batches() for row in batch.to_pylist()]
    return [row for batch in batches for row in batch.to_pylist()], bad


def values(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [tuple(value for name, value in row.items() if name != LINE) for row in rows]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n", [("1", "2")]),
        (b"a,b\n1,2", [("1", "2")]),
        (b"a,b\r\n1,2\r\n", [("1", "2")]),
        (b"a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [("1", "2")]),
        (b'a,b\n"x\ny","p,q"\n', [("x\ny", "p,q")]),
        (b'a,b\n"say ""hi""",5" pipe\n', [('say "hi"', '5" pipe')]),
        (b'a,b\n,\n1,\n,""\n', [("1", None), (None, "")]),
        (b"\n\r\na,b\n\n1,2\n\n\n3,4\n\n", [("1", "2"), ("3", "4")]),
        (b"a\n1\n\n2\n", [("1",), ("2",)]),
        (b"a,b\n", []),
        (b"a,b", []),
        (b" a , b\n 1 , 2\n", [(" 1 ", " 2")]),
        ("größe,b\nä\u2028,\U0001f600\n".encode(), [("ä\u2028", "\U0001f600")]),
        (b"a,b\nNULL,NA\n", [("NULL", "NA")]),
    ],
)
def test_rows_are_read_as_they_are_meant(folder: Path, content: bytes, expected: list[tuple[Any, ...]]) -> None:
    rows, bad = read(folder, content)
    assert values(rows) == expected
    assert bad == []


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", b"a;b\n1;2,5\n3;4\n", {}),
        ("a.csv", b"a\tb\n1\t2,5\n3\t4\n", {}),
        ("a.csv", b"a|b\n1|2,5\n3|4\n", {}),
        ("a.tsv", b"a\tb\n1\t2,5\n3\t4\n", {}),
        ("a.csv", b"a~b\n1~2,5\n3~4\n", {"delimiter": "~"}),
        ("a.csv", b"a;b\n'1';'2,5'\n3;4\n", {"quote": "'"}),
        ("a.csv", "a;b\n1;2,5\n3;4\n".encode("utf-16"), {}),
        ("a.csv", "a;b\n1;2,5\n3;4\n".encode("utf-32"), {}),
        ("a.csv", "a;b\n1;2,5\n3;4\n".encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("a.csv.gz", gzip.compress(b"a;b\n1;2,5\n3;4\n"), {}),
        ("a.csv.gz", gzip.compress(b"a;b\n1;2,5\n") + gzip.compress(b"3;4\n"), {}),
        ("a.csv.bz2", bz2.compress(b"a;b\n1;2,5\n3;4\n"), {}),
        ("a.CSV.XZ", lzma.compress(b"a;b\n1;2,5\n3;4\n"), {}),
        ("a.csv.zst", zstandard.compress(b"a;b\n1;2,5\n") + zstandard.compress(b"3;4\n"), {}),
    ],
)
def test_delimiters_encodings_and_compressions_are_found_out(
    folder: Path, name: str, content: bytes, options: dict[str, Any]
) -> None:
    rows, bad = read(folder, content, name, **options)
    assert values(rows) == [("1", "2,5"), ("3", "4")]
    assert list(rows[0]) == ["a", "b", LINE]
    assert bad == []


def test_a_single_column_of_prose_is_not_split_at_its_commas(folder: Path) -> None:
    rows, bad = read(folder, b'text\n"yes, of course"\nno; never\n')
    assert values(rows) == [("yes, of course",), ("no; never",)]
    assert bad == []


def test_quotes_mean_nothing_when_there_is_no_quote_character(folder: Path) -> None:
    rows, _ = read(folder, b'a,b\n"1,2"\n"open,3\n', quote=None)
    assert values(rows) == [('"1', '2"'), ('"open', "3")]


def test_bad_rows_carry_line_reason_value_and_raw_text(folder: Path) -> None:
    content = b'\na,b\n"x\ny",1\n\n2\n3,4,5\n6,\xff\xfe\n"p\nq",7,8\n\xe4,9\n10,11\n'
    rows, bad = read(folder, content)
    assert [(row["a"], row[LINE]) for row in rows] == [("x\ny", 3), ("10", 12)]
    assert [(row["row_id"], row["reason"], row["value"], row["raw"]) for row in bad] == [
        ("a.csv:6", "malformed_row", "1 fields, expected 2", "2"),
        ("a.csv:7", "malformed_row", "3 fields, expected 2", "3,4,5"),
        ("a.csv:9", "malformed_row", "3 fields, expected 2", '"p\nq",7,8'),
        ("a.csv:8", "invalid_utf8", "\\xff\\xfe", "6,\\xff\\xfe"),
        ("a.csv:11", "invalid_utf8", "\\xe4", "\\xe4,9"),
    ]


def test_bytes_outside_the_declared_encoding_stay_readable(folder: Path) -> None:
    rows, bad = read(folder, "a;b\nstraße;1\n".encode("cp1252") + b"\x81;2\n", encoding="cp1252")
    assert values(rows) == [("straße", "1")]
    assert [(row["reason"], row["raw"]) for row in bad] == [("invalid_utf8", "\\x81;2")]


def test_lines_are_right_across_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "MAX_ROW_BYTES", 64)
    lines = ["a,b"]
    for number in range(500):
        lines += [f"{number},x", "bad", f'{number},"x\ny"', ""]
    rows, bad = read(folder, "\n".join(lines).encode())
    assert [row[LINE] for row in rows] == [line for n in range(500) for line in (2 + 5 * n, 4 + 5 * n)]
    assert [row["row_id"] for row in bad] == [f"a.csv:{3 + 5 * n}" for n in range(500)]


def test_a_file_of_nothing_but_bad_rows_is_read_to_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "MAX_ROW_BYTES", 64)
    rows, bad = read(folder, b"a,b\n" + b"1\n" * 1000)
    assert rows == []
    assert [row["row_id"] for row in bad] == [f"a.csv:{n + 2}" for n in range(1000)]


def test_a_very_long_line_is_one_row(folder: Path) -> None:
    rows, _ = read(folder, b"a,b\n" + b"x" * 10_000_000 + b",1\n2,3\n")
    assert [len(row["a"]) for row in rows] == [10_000_000, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n\n", "no header line"),
        (b"a,b\n1,\x002\n", "binary data"),
        (b'a,b\n1,"2\n3,4\n', "quote in the row at line 2 is never closed"),
        (b'a,b\n"1\n3,4\n', "quote in the row at line 2 is never closed"),
        (b'a,"b\n1,2\n', "quote in the header is never closed"),
        (b"\xff\xd8\xff\xe0JFIF,x\n", "header is no text in utf-8: '.*xff"),
        ("größe,b\n1,2\n".encode("latin-1"), "set the reader's option 'encoding'"),
        (b"\x01\x02,b\n1,2\n", "header is no text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ],
)
def test_what_is_no_csv_is_refused_with_a_reason(folder: Path, content: bytes, said: str) -> None:
    with pytest.raises(RefusedFileError, match=said):
        read(folder, content)


def test_a_row_longer_than_a_block_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "MAX_ROW_BYTES", 1000)
    with pytest.raises(RefusedFileError, match="longer than 1,000 bytes: is a quote never closed"):
        read(folder, b'a,b\n1,"' + b"x" * 5000 + b'"\n')


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 5000)[:-10]),
        ("a.csv.bz2", bz2.compress(b"a,b\n" + b"1,2\n" * 5000)[:-10]),
        ("a.csv.xz", lzma.compress(b"a,b\n" + b"1,2\n" * 5000)[:-10]),
        ("a.csv.zst", zstandard.compress(b"a,b\n" + b"1,2\n" * 5000)[:-4]),
        ("a.csv.gz", b"a,b\n1,2\n"),
    ],
)
def test_truncated_or_false_compression_is_refused(folder: Path, name: str, content: bytes) -> None:
    with pytest.raises(RefusedFileError, match=r"truncated or damaged .* data .*delivered again"):
        read(folder, content, name)


@pytest.mark.parametrize("options", [{"encoding": "utf-9"}, {"delimiter": ""}, {"delimiter": "ä"}, {"quote": "''"}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Csv(**options)
