"""Memory grows far less than the size of a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20
PROGRAM = """
import sys
from airflow_dataflow.ingest.files import ingest_files
from airflow_dataflow.storage.directory import Directory
from tests.memory import peak_bytes
before = peak_bytes()
written = ingest_files(sys.argv[1], Directory.from_url(sys.argv[2]))
print(written.rows.rows_out, peak_bytes() - before)
"""


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_text_of_a_large_file_is_not_held_several_times_over(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    text = "lorem ipsum dolor sit amet " * 30
    row = f'7,0.5,2026-11-01,"{text}"\n' if suffix == "csv" else f'{{"n": 7, "x": 0.5, "text": "{text}"}}\n'
    block = row.encode() * (MEBIBYTE // len(row))
    with path.open("wb") as file:
        file.write(b"n,x,day,text\n" if suffix == "csv" else b"")
        for _ in range(250):
            file.write(block)
    command = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "out")]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200)
    rows, grown_bytes = map(int, result.stdout.split())
    assert rows == 250 * (MEBIBYTE // len(row))
    # Most of it is what allocators keep: a file of eight times the size takes little more than twice as much.
    assert grown_bytes < 512 * MEBIBYTE
