"""Counting what is read of versions, so that the catalog can tell who needs which, from where."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.reads import NOBODY, Purpose, Reader
from airflow_dataflow.errors import DataflowError
from airflow_dataflow.storage.counting import ReadTally

log = logging.getLogger(__name__)

_MOST_PENDING = 256
"""Versions with counts in memory; more are written down at once."""


class ReadLog:
    """Collects what is read, and writes it to the catalog in one go.

    :param catalog: the catalog.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tallies: WeakValueDictionary[tuple[str, str, str, Purpose], ReadTally] = WeakValueDictionary()
        self._pending: set[ReadTally] = set()
        self._lock = threading.Lock()
        self.reader = NOBODY
        """Who reads."""

    def tally(self, dataset: str, version: str, tier: str, purpose: Purpose) -> ReadTally:
        """Return the count of what is read of a version on a tier; the same one as long as somebody holds it."""
        with self._lock:
            new = ReadTally(self.add, dataset=dataset, version=version, tier=tier, purpose=purpose)
            return self._tallies.setdefault((dataset, version, tier, purpose), new)

    @contextmanager
    def read_by(self, reader: Reader) -> Iterator[None]:
        """Say who reads inside the block, and write down what was read when it ends, with an error or without."""
        self.flush()
        self.reader, before = reader, self.reader
        try:
            yield
        finally:
            self.flush()
            self.reader = before

    def add(self, tally: ReadTally) -> None:
        """Remember that something was counted."""
        if len(self._pending) >= _MOST_PENDING:
            self.flush()
        with self._lock:
            self._pending.add(tally)

    def flush(self) -> None:
        """Write down what was counted; the work that read it never fails for that."""
        with self._lock:
            pending, self._pending = self._pending, set()
        reads = [tally.take(self.reader) for tally in pending]
        try:
            self._catalog.record_reads(reads)
        except Exception as error:  # noqa: BLE001 - to know who reads is a help, the work must not end for it
            said = error if isinstance(error, DataflowError) else type(error).__name__
            log.warning("what was read of %d versions could not be recorded: %s", len(reads), said)
