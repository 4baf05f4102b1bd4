"""Compression in flight: the Zstandard level that sends most bytes per second over the link at hand.

With level ``l``, of which one core compresses ``c_l`` bytes per second to ``1/r_l`` of their size, ``p`` cores and a
link of ``B`` bytes per second move ``X_l = min(p * c_l, B * r_l)`` bytes of the source per second, and ``B`` without
compression. The highest ``X_l`` wins. All of these numbers are measured: the link by what is being sent, the levels on
samples of the data and then by the work itself. They are looked at again for every object.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zstandard

from airflow_dataflow.transfer.options import Compress

log = logging.getLogger(__name__)

LEVELS = (-7, -5, -3, -1, 1, 2, 3, 4, 6, 9, 12, 15, 19)
"""Levels to choose from; those between them differ little."""
FIRST_LEVEL = 3
"""Level while nothing is known of the link."""
LEAST_RATIO = 1.1
"""Data that shrinks by less is sent as it is."""
SAMPLE_BYTES = 1 << 20
"""What is compressed to find out about a level."""
_PROBE_LEVEL = 1
"""Level at which data shows whether it shrinks at all."""
_STEPS_UP = 2
"""How far the level may rise at a time: a link that looks slow for a moment must not cost seconds of computing."""
_WORTH_A_CHANGE = 1.05
"""How much faster another level has to be."""
_REMEMBERED = 0.7
"""Weight of all before, against the next measurement."""
_SAMPLED_EVERY = 8
"""Objects after which what is known of levels counts as old."""
_SAME_DATA = 1.25
"""How much two ratios of one level may differ for data that counts as being of one kind."""
_PIECES = 4
"""Places of an object that a sample is taken from."""


class LinkMeter:
    """How many bytes per second go over a link while something is on the way; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._since = 0.0
        self._bytes = 0.0
        self._seconds = 0.0

    @contextmanager
    def sending(self, size: int) -> Iterator[None]:
        """Measure the time until ``size`` bytes have arrived; what fails counts as time in which nothing arrived."""
        began = self._begin()
        arrived = 0
        try:
            yield
            arrived = size
        finally:
            self._end(began, arrived)

    def _begin(self) -> float:
        with self._lock:
            now = time.monotonic()
            if not self._under_way:
                self._since = now
            self._under_way += 1
            return now

    def _end(self, began: float, arrived: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._under_way -= 1
            # Several at once share the link: the time since the last one arrived is what this one took of it, and what
            # was before counts the less, the larger its share is.
            alone = now - self._since
            remembered = _REMEMBERED ** (alone / max(now - began, 1e-9))
            self._bytes = self._bytes * remembered + arrived
            self._seconds = self._seconds * remembered + alone
            self._since = now

    @property
    def bytes_per_second(self) -> float | None:
        """The rate, weighted towards the last objects; ``None`` while nothing has arrived."""
        with self._lock:
            return self._bytes / self._seconds if self._bytes and self._seconds else None


@dataclass(frozen=True)
class LevelFacts:
    """What a level does to the data."""

    ratio: float
    """Bytes before compression for each stored byte."""
    bytes_per_second: float
    """Bytes before compression that one core gets through in a second."""


class Compression:
    """Chooses the level for each object of one transfer; safe to use from several threads.

    :param wanted: ``"auto"``, ``"off"`` or a level, which is then the answer for all objects.
    :param cores: cores that may compress; those that this process may use when ``None``.
    """

    def __init__(self, wanted: Compress, *, cores: int | None = None) -> None:
        self.cores = cores or usable_cores()
        self.link = LinkMeter()
        """Measures what is sent."""
        self._wanted = wanted
        self._lock = threading.Lock()
        self._facts: dict[int, LevelFacts] = {}
        self._level: int | None = FIRST_LEVEL
        self._objects = 0
        self._share = 1.0
        self._said = False
        self._turns = threading.Semaphore(self.cores)

    @contextmanager
    def core(self) -> Iterator[None]:
        """Wait for a core: more threads than cores would only make each other slow."""
        with self._turns:
            yield

    def level(self, sample: bytes | memoryview) -> int | None:
        """Return the level for the next object, ``None`` to send it as it is.

        :param sample: some of its bytes.
        """
        if self._wanted != "auto":
            return None if self._wanted == "off" else self._wanted
        with self._lock:
            if self._objects % _SAMPLED_EVERY == 0:
                self._facts.clear()
            self._objects += 1
            chosen, why = self._choose(sample, self.link.bytes_per_second)
            if chosen != self._level or not self._said:
                log.info("compression is now %s: %s", "off" if chosen is None else f"level {chosen}", why)
            self._level, self._said = chosen, True
            return chosen

    def done(self, level: int, size: int, stored: int, *, seconds: float, cpu_seconds: float) -> None:
        """Learn from an object that was compressed.

        :param size: its bytes before.
        :param stored: its bytes after.
        :param seconds: time that it took.
        :param cpu_seconds: time that a core worked on it; the rest went to others who wanted the core.
        """
        with self._lock:
            share = min(1.0, cpu_seconds / max(seconds, 1e-6))
            self._share = self._share * _REMEMBERED + share * (1 - _REMEMBERED)
            known, ratio = self._facts.get(level), size / stored
            if known is not None and _differ(ratio, known.ratio):
                # Other data: what the samples of the data before said of other levels holds no longer.
                self._facts.clear()
            self._facts[level] = LevelFacts(ratio, size / max(cpu_seconds, 1e-6))

    def _choose(self, sample: bytes | memoryview, link: float | None) -> tuple[int | None, str]:
        # Data changes from object to object; a fast level shows it in milliseconds.
        known = self._facts.pop(_PROBE_LEVEL, None)
        probe = self._measured(_PROBE_LEVEL, sample)
        if known is not None and _differ(known.ratio, probe.ratio):
            self._facts = {_PROBE_LEVEL: probe}
        if probe.ratio < LEAST_RATIO:
            return None, f"the data shrinks by a factor of {probe.ratio:.2f} only"
        if link is None:
            return FIRST_LEVEL, "nothing is known of the link yet"
        rates: dict[int | None, float] = {None: link}
        cores, best = self.cores * self._share, link
        for level in LEVELS[: self._highest()]:
            facts = self._measured(level, sample)
            rates[level] = min(cores * facts.bytes_per_second, link * facts.ratio)
            best = max(best, rates[level])
            if cores * facts.bytes_per_second < best:
                break  # higher levels are slower still
        fastest = max(rates, key=lambda level: rates[level])
        now = rates.get(self._level, 0.0)
        chosen = fastest if rates[fastest] > now * _WORTH_A_CHANGE else self._level
        return chosen, self._why(chosen, link, rates[chosen], sample)

    def _highest(self) -> int:
        if self._level is None:
            return len(LEVELS) - LEVELS[::-1].index(FIRST_LEVEL)
        return LEVELS.index(self._level) + 1 + _STEPS_UP

    def _why(self, level: int | None, link: float, rate: float, sample: bytes | memoryview) -> str:
        text = f"the link takes {link / 1e6:,.1f} MB/s"
        if level is None:
            return f"{text}, which no level on {self.cores} cores makes more of"
        facts = self._measured(level, sample)
        return (
            f"{text}, {self.cores} cores compress {facts.bytes_per_second / 1e6:,.0f} MB/s each by a factor of "
            f"{facts.ratio:.2f}, which moves {rate / 1e6:,.1f} MB/s"
        )

    def _measured(self, level: int, sample: bytes | memoryview) -> LevelFacts:
        if level not in self._facts:
            begin = time.thread_time()
            stored = len(compressor(level).compress(sample))
            seconds = max(time.thread_time() - begin, 1e-6)
            self._facts[level] = LevelFacts(len(sample) / stored, len(sample) / seconds)
        return self._facts[level]


def _differ(first: float, second: float) -> bool:
    return max(first, second) > _SAME_DATA * min(first, second)


def sample_of(data: memoryview) -> bytes:
    """Return bytes from several places of an object, as many as tell something about all of it."""
    if len(data) <= SAMPLE_BYTES:
        return bytes(data)
    size, step = SAMPLE_BYTES // _PIECES, (len(data) - SAMPLE_BYTES // _PIECES) // (_PIECES - 1)
    return b"".join(data[number * step : number * step + size] for number in range(_PIECES))


def compressor(level: int) -> zstandard.ZstdCompressor:
    """Return what compresses frames at a level; each frame tells its size and has a checksum."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and by the limit of its control group."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores
