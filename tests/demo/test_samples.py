"""The demo's raw input: the same every time, and wrong in every way that it promises."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.demo.phrases import INTENTS
from airflow_dataflow.demo.samples import SampleOptions, night_messages, write_night

OPTIONS = SampleOptions(rows=(1200, 300))


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    write_night(folder, 1, OPTIONS)
    write_night(folder, 2, OPTIONS)
    return folder


def test_each_night_brings_every_format_and_only_the_first_brings_a_truncated_file(landing: Path) -> None:
    assert sorted(path.name for path in landing.iterdir()) == [
        "app-20261101.jsonl", "app-20261102.jsonl", "archive-20261101.parquet", "mail-20261101.parquet",
        "mail-20261102.parquet", "web-20261101.csv", "web-20261102.csv",
    ]  # fmt: skip
    with pytest.raises(pa.ArrowInvalid, match="magic bytes not found"):
        pq.read_table(landing / "archive-20261101.parquet")


def test_the_same_seed_gives_the_same_bytes(landing: Path, tmp_path: Path) -> None:
    write_night(tmp_path, 2, OPTIONS)
    write_night(tmp_path, 1, OPTIONS)
    assert {path.name: _digest(path) for path in tmp_path.iterdir()} == {
        path.name: _digest(path) for path in landing.iterdir()
    }


def test_another_seed_gives_other_messages() -> None:
    other = SampleOptions(rows=OPTIONS.rows, seed=1)
    assert night_messages(1, other) != night_messages(1, OPTIONS)


def test_all_formats_have_the_same_columns(landing: Path) -> None:
    table = pq.read_table(landing / "mail-20261101.parquet")
    header = (landing / "web-20261101.csv").read_bytes().split(b"\n")[0].decode().split(",")
    first = json.loads((landing / "app-20261101.jsonl").read_text().split("\n")[0])
    assert table.column_names == header == list(first)


def test_the_csv_file_has_broken_encodings_and_rows_with_too_few_and_too_many_fields(landing: Path) -> None:
    lines = (landing / "web-20261101.csv").read_bytes().rstrip(b"\n")
    with pytest.raises(UnicodeDecodeError):
        lines.decode()
    widths = Counter(len(row) for row in csv.reader(lines.decode("latin-1").splitlines(keepends=True)))
    assert widths[7] > 450
    assert min(widths) < 7 < max(widths)


def test_the_jsonl_file_has_lines_that_are_cut_off(landing: Path) -> None:
    def parses(line: str) -> bool:
        try:
            json.loads(line)
        except ValueError:
            return False
        return True

    counts = Counter(parses(line) for line in (landing / "app-20261101.jsonl").read_text().splitlines())
    assert counts[True] > 400
    assert counts[False] > 0


@pytest.mark.parametrize(
    "pattern",
    [r"\b[\w.]+@example\.com", r"\+49 30 \d{7}", r"\b4\d{3}( \d{4}){3}\b", r"\b192\.0\.2\.\d+"],
    ids=["e-mail", "phone", "card", "ip"],
)
def test_some_messages_hold_personal_data(pattern: str) -> None:
    assert any(re.search(pattern, message.body or "") for message in night_messages(1, OPTIONS))


def test_card_numbers_pass_the_luhn_check() -> None:
    text = " ".join(message.body or "" for message in night_messages(1, OPTIONS))
    numbers = [found.group().replace(" ", "") for found in re.finditer(r"\b4\d{3}( \d{4}){3}\b", text)]
    assert numbers
    for number in numbers:
        doubled = [sum(divmod(int(digit) * 2, 10)) for digit in number[-2::-2]]
        assert (sum(doubled) + sum(int(digit) for digit in number[-1::-2])) % 10 == 0


def test_values_are_missing_and_out_of_range() -> None:
    messages = night_messages(1, OPTIONS)
    assert any(message.body is None for message in messages)
    assert any(message.intent is None for message in messages)
    assert any(message.response_seconds is None for message in messages)
    seconds = [message.response_seconds for message in messages if message.response_seconds is not None]
    assert min(seconds) < 0
    assert max(seconds) > 100_000


def test_messages_come_again_word_for_word_and_in_other_spacing_and_capitals() -> None:
    bodies = [message.body for message in night_messages(1, OPTIONS) if message.body]
    exact = len(bodies) - len(set(bodies))
    similar = len(set(bodies)) - len({" ".join(body.lower().split()) for body in bodies})
    assert exact >= OPTIONS.duplicate_fraction * 1200 * 0.9
    assert similar >= OPTIONS.near_duplicate_fraction * 1200 * 0.8


def test_the_second_night_repeats_messages_of_the_first() -> None:
    first = {message.body for message in night_messages(1, OPTIONS) if message.body}
    second = {message.body for message in night_messages(2, OPTIONS)}
    assert first & second


def test_every_intent_has_enough_messages_to_learn_from() -> None:
    counts = Counter(message.intent for message in night_messages(1, SampleOptions()) if message.intent)
    assert set(counts) == set(INTENTS)
    assert min(counts.values()) > 250


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
