"""JSON Lines, clean and dirty."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, jsonl
from airflow_dataflow.ingest.readers.jsonl import Jsonl
from airflow_dataflow.ingest.rejects import Rejects

Row = dict[str, Any]
DEEP = 40_000


def batches(
    folder: Path, content: bytes, name: str = "a.jsonl", **options: Any
) -> tuple[list[pa.RecordBatch], list[Row]]:
    path = folder / name
    path.write_bytes(content)
    rejects = Rejects(name, folder / "rejects")
    good = list(Jsonl(**options).read(LocalFile(name, path), rejects))
    return good, [row for batch in rejects.batches() for row in batch.to_pylist()]


def read(folder: Path, content: bytes, name: str = "a.jsonl", **options: Any) -> tuple[list[Row], list[Row]]:
    good, bad = batches(folder, content, name, **options)
    return [row for batch in good for row in batch.to_pylist()], bad


@pytest.fixture(params=["at once", "line by line"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read as a whole block where Arrow can, and line by line, which has to give the same."""
    if request.param == "line by line":
        monkeypatch.setattr(jsonl, "_read_fast", lambda *_: None)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"x": 1}\n{"x": 2}', [1, 2]),
        (b'{"x": 1}\r\n\r\n{"x": 2}\r\n', [1, 2]),
        (b'\xef\xbb\xbf{"x": 1}\n', [1]),
        (b'{"x": 1}\n{"x": 2.5}\n', [1.0, 2.5]),
        (b'{"x": 1}\n{"x": "a"}\n', ["1", "a"]),
        (b'{"x": true}\n{"x": 1}\n{"x": 1.0}\n', ["true", "1", "1.0"]),
        (b'{"x": true}\n{"x": null}\n{}\n', [True, None]),
        (b'{"x": 9223372036854775807}\n', [2**63 - 1]),
        (b'{"x": 9223372036854775808}\n', ["9223372036854775808"]),
        (b'{"x": 9007199254740993}\n{"x": 0.5}\n', ["9007199254740993", "0.5"]),
        (b'{"x": 1e3}\n{"x": -0.0}\n', [1000.0, -0.0]),
        (b'{"x": "2026-11-01"}\n{"x": "2026-11-01 10:00:00"}\n', ["2026-11-01", "2026-11-01 10:00:00"]),
        (b'{"x": {"a": 1}}\n{"x": {"b": "t"}}\n', [{"a": 1, "b": None}, {"a": None, "b": "t"}]),
        (b'{"x": {"a": 1}}\n{"x": {"a": "t"}}\n', [{"a": "1"}, {"a": "t"}]),
        (b'{"x": {"a": 1}}\n{"x": [1]}\n', ['{"a":1}', "[1]"]),
        (b'{"x": [1, 2.5]}\n{"x": []}\n{"x": null}\n', [[1.0, 2.5], [], None]),
        (b'{"x": [{"a": 1}, {"a": "b"}, null]}\n', [[{"a": "1"}, {"a": "b"}, None]]),
        (b'{"x": "\\ud83d\\ude00 \\u00e4"}\n', ["\U0001f600 ä"]),
        ('{"x": "ä\u2028\u0085"}\n'.encode(), ["ä\u2028\u0085"]),
        (b'{"x": "a\\u0000b"}\n', ["a\0b"]),
    ],
)
def test_values_come_out_exactly(tmp_path: Path, content: bytes, expected: list[Any]) -> None:
    rows, bad = read(tmp_path, content)
    assert [json.dumps(row["x"]) for row in rows if "x" in row][: len(expected)] == [json.dumps(v) for v in expected]
    assert bad == []


@pytest.mark.parametrize(
    ("line", "reason", "value"),
    [
        (b"[1, 2]", "not_an_object", "list"),
        (b"5", "not_an_object", "int"),
        (b"null", "not_an_object", "NoneType"),
        (b'"text"', "not_an_object", "str"),
        (b'{"x": ', "invalid_json", "Expecting value: line 1 column 7 (char 6)"),
        (b"{'x': 1}", "invalid_json", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"x": 1} {"x": 2}', "invalid_json", "Extra data: line 1 column 10 (char 9)"),
        (b'{"x": 007}', "invalid_json", "Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b'{"x": 1, "x": 2}', "invalid_json", "'x' occurs twice in one object"),
        (b'{"x": 1e999}', "invalid_json", "1e999 is larger than any float64"),
        (b'{"x": "\xff"}', "invalid_utf8", '{"x": "\\xff"}'),
        (b'{"x": "\\ud800"}', "invalid_utf8", "half of a surrogate pair, such as \\ud800"),
        (b'{"x": ' + b"[" * 50 + b"]" * 50 + b"}", "invalid_json", "nested deeper than 32 levels"),
        (b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}", "invalid_json", "nested deeper than 32 levels"),
        (b'{"x": ' * DEEP + b"1" + b"}" * DEEP, "invalid_json", "nested deeper than 32 levels"),
        (b'{"x": ' + b"[" * DEEP, "invalid_json", "nested deeper than 32 levels"),
    ],
    ids=range(16),
)
def test_a_bad_line_is_rejected_alone(tmp_path: Path, line: bytes, reason: str, value: str) -> None:
    rows, bad = read(tmp_path, b'{"x": 1}\n\n' + line + b'\n{"x": 2}\n')
    assert rows == [{"x": 1, LINE: 1}, {"x": 2, LINE: 4}]
    raw = line.decode(errors="backslashreplace")
    assert bad == [{"row_id": "a.jsonl:3", "rule": "ingest", "reason": reason, "value": value, "raw": raw}]


def test_a_dirty_block_does_not_change_how_its_good_rows_are_read(tmp_path: Path) -> None:
    good = b'{"b": 1, "a": "2026-11-01", "s": {"n": 1}}\n{"c": [0.5], "b": 2}\n'
    clean, _ = batches(tmp_path, good)
    dirty, bad = batches(tmp_path, good + b"{\n")
    assert clean[0].schema == dirty[0].schema
    assert clean[0] == dirty[0]
    assert len(bad) == 1


def test_rows_and_lines_are_whole_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 37)
    lines = [f'{{"x": {number}, "y": "{"z" * (number % 50)}"}}' for number in range(300)]
    lines[100], lines[200] = "", "broken"
    rows, bad = read(tmp_path, "\n".join(lines).encode())
    assert [(row["x"], row[LINE]) for row in rows] == [(n, n + 1) for n in range(300) if n not in (100, 200)]
    assert [row["row_id"] for row in bad] == ["a.jsonl:201"]


def test_times_keep_their_text_from_block_to_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 64)
    moments = ["2026-11-01T00:00:00Z", "2026-11-01", "2026-11-01 00:00:00.5", "later"]
    content = "".join(json.dumps({"n": 0, "at": moment, "in": {"at": [moment]}}) + "\n" for moment in moments * 5)
    rows, _ = read(tmp_path, content.encode())
    assert [row["at"] for row in rows] == moments * 5
    assert [row["in"]["at"] for row in rows] == [[moment] for moment in moments * 5]
    assert list(rows[0]) == ["n", "at", "in", LINE]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ('{"x": "ß"}\n'.encode("utf-16"), {}),
        ('{"x": "ß"}\n'.encode("latin-1"), {"encoding": "latin-1"}),
    ],
)
def test_other_encodings_are_read(tmp_path: Path, content: bytes, options: dict[str, Any]) -> None:
    assert read(tmp_path, content, **options)[0] == [{"x": "ß", LINE: 1}]


def test_a_line_of_many_megabytes_is_one_row(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, b'{"x": "' + b"y" * 20_000_000 + b'"}\n{"x": "z"}\n')
    assert [len(row["x"]) for row in rows] == [20_000_000, 1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"\n \n", "not one line is a JSON object"),
        ("a.jsonl", b'[\n{"x": 1},\n{"x": 2}\n]\n', "JSON array"),
        ("a.jsonl", b"\x00\x01\x02", "binary data"),
        ("a.jsonl.gz", gzip.compress(b'{"x": 1}\n' * 9999)[:-12], "truncated or damaged gzip"),
    ],
)
def test_what_is_no_json_lines_is_refused_with_a_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(RefusedFileError, match=said):
        read(tmp_path, content, name)


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    with pytest.raises(RefusedFileError, match="longer than 1,000 bytes"):
        read(tmp_path, b'{"x": "' + b"y" * 2000)
