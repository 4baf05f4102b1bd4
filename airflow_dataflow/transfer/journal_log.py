"""A journal over anything to which lines can be appended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from airflow_dataflow.errors import BusyError
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.records import Recorder, replay

log = logging.getLogger(__name__)

_WHOLE_FILES_SECONDS = 1.0
"""How long files that are whole may wait: an attempt that does not know of them finds them at the target."""


class Log(Protocol):
    """Lines that outlive the process; one process at a time holds them."""

    def open(self) -> None:
        """Get hold of them.

        :raises BusyError: when another process holds them.
        """

    def read(self) -> Iterable[str]:
        """Return the lines in the order in which they were appended."""

    def append(self, lines: Sequence[str]) -> None:
        """Add lines; when this returns, they survive a kill of this process."""

    def clear(self) -> None:
        """Remove all lines."""

    def close(self) -> None:
        """Let go of them."""


class LogJournal:
    """A journal whose threads write together: what they save while one of them writes goes with the next write.

    Use it as a context manager; it holds its log until the end of the block.

    :param lines: where it writes.
    :param pause_seconds: least time between two writes.
    """

    def __init__(self, lines: Log, *, pause_seconds: float = 0.0) -> None:
        self._log = lines
        self._pause_seconds = pause_seconds
        self._recorder = Recorder()
        self._pending: dict[str, FileProgress] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._saved = self._written = 0
        self._wrote_at = time.monotonic()
        self._complaint: str | None = None

    def __enter__(self) -> LogJournal:
        self._log.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._pending:
                self._write()
        except BusyError:
            log.info("another process goes on with this transfer")
        finally:
            self._log.close()

    def load(self) -> dict[str, FileProgress]:
        """Return what earlier attempts at the same transfer have written."""
        with self._writing:
            if self._pending:
                self._write()
            found = replay(self._log.read())
            self._recorder.knows(found)
        return found

    def save(self, files: Mapping[str, FileProgress]) -> None:
        """Write down how far some files are; returns when parts of files are safe, and at once for whole files."""
        with self._lock:
            self._pending.update(files)
            self._saved += 1
            number = self._saved
        if any(progress.target_stamp is None for progress in files.values()):
            with self._writing:
                if self._written < number:
                    self._write()
        elif time.monotonic() - self._wrote_at > _WHOLE_FILES_SECONDS and self._writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self._writing.release()

    def clear(self) -> None:
        """Forget all."""
        with self._writing:
            with self._lock:
                self._pending = {}
                self._recorder = Recorder()
            self._log.clear()

    def _write(self) -> None:
        pause = self._wrote_at + self._pause_seconds - time.monotonic()
        if pause > 0:
            time.sleep(pause)  # others join meanwhile
        with self._lock:
            files, self._pending = self._pending, {}
            number = self._saved
        try:
            lines = self._recorder.lines(files)
            if lines:
                self._log.append(lines)
            self._complaint = None
        except BusyError:
            raise
        except Exception as error:  # noqa: BLE001 - a transfer without its journal is better than none
            self._keep(files, error)
        self._written = number
        self._wrote_at = time.monotonic()

    def _keep(self, files: dict[str, FileProgress], error: Exception) -> None:
        """Keep what could not be written for the next time."""
        if str(error) != self._complaint:
            log.warning("the journal of the transfer cannot be written, a kill now costs what it lacks: %s", error)
        self._complaint = str(error)
        with self._lock:
            self._pending = files | self._pending
        self._recorder = Recorder()
