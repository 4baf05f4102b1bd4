"""The level that suits the link: by the model of pipelined throughput, from what is measured."""

from __future__ import annotations

import logging
import random
import time

import pytest

from airflow_dataflow.transfer.compression import (
    LEVELS,
    SAMPLE_BYTES,
    Compression,
    LevelFacts,
    LinkMeter,
    compressor,
    sample_of,
)

TEXT = b"".join(b"line %d of some text\n" % number for number in random.Random(1).choices(range(1000), k=50_000))
NOISE = random.Random(2).randbytes(SAMPLE_BYTES)
MEASURED = {-5: (3.2, 462), 1: (4.7, 391), 3: (5.2, 219), 6: (5.9, 94), 9: (6.2, 54), 12: (6.3, 25), 19: (7.2, 2)}
"""Ratio and MB/s of one core on 32 MiB of program text."""


class Link(LinkMeter):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self._bytes, self._seconds = rate, 1.0


def chosen(megabits: float, cores: int, monkeypatch: pytest.MonkeyPatch) -> int | None:
    facts = {level: LevelFacts(ratio, speed * 1e6) for level, (ratio, speed) in MEASURED.items()}
    monkeypatch.setattr("airflow_dataflow.transfer.compression.LEVELS", tuple(MEASURED))
    monkeypatch.setattr(Compression, "_measured", lambda _self, level, _sample: facts[level])
    compression = Compression("auto", cores=cores)
    compression.link = Link(megabits * 1e6 / 8)
    compression._facts = dict(facts)
    return [compression.level(b"") for _ in range(6)][-1]


@pytest.mark.parametrize(
    ("megabits", "cores", "levels"),
    [(40, 1, {9}), (100, 1, {6, 9}), (250, 1, {3, 6}), (1000, 1, {-5, 1}), (20_000, 1, {None}), (5000, 16, {3, 6})],
)
def test_the_level_follows_from_link_and_cores(
    megabits: float, cores: int, levels: set[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(megabits, cores, monkeypatch) in levels


def test_data_that_does_not_shrink_is_sent_as_it_is_until_it_does() -> None:
    compression = Compression("auto", cores=2)
    compression.link = Link(5e6)
    assert compression.level(NOISE) is None
    assert compression.level(TEXT) in LEVELS
    assert compression.level(NOISE) is None


def test_a_wish_is_the_answer_whatever_is_measured() -> None:
    assert Compression(19).level(NOISE) == 19
    assert Compression("off").level(TEXT) is None


def test_a_change_of_the_level_is_told_with_its_numbers(caplog: pytest.LogCaptureFixture) -> None:
    compression = Compression("auto", cores=1)
    compression.link = Link(1e6)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            compression.level(TEXT)
    assert "the link takes 1.0 MB/s" in caplog.text
    assert "by a factor of" in caplog.text


def test_the_level_rises_by_steps() -> None:
    compression = Compression("auto", cores=1)
    compression.link = Link(1e3)
    level = compression.level(TEXT)
    assert level is not None
    assert LEVELS.index(level) <= LEVELS.index(3) + 2


def test_a_link_is_measured_while_something_is_on_the_way() -> None:
    link = LinkMeter()
    assert link.bytes_per_second is None
    with link.sending(1000), link.sending(1000):
        time.sleep(0.01)
    rate = link.bytes_per_second
    assert rate is not None
    time.sleep(0.02)  # what passes while nothing is sent counts for nothing
    assert link.bytes_per_second == rate
    assert 10_000 < rate < 200_001


def test_a_sample_is_of_all_of_the_data() -> None:
    data = memoryview(b"a" * SAMPLE_BYTES + b"b" * SAMPLE_BYTES + b"c" * SAMPLE_BYTES)
    assert set(sample_of(data)) == set(b"abc")
    assert len(sample_of(data)) == SAMPLE_BYTES
    assert sample_of(data[:10]) == b"a" * 10


def test_levels_below_zero_and_above_work() -> None:
    assert len(compressor(19).compress(TEXT)) < len(compressor(-7).compress(TEXT)) < len(TEXT)
