"""What a transfer did, in numbers."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow_dataflow.progress import Progress


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """What a transfer did; its fields are the JSON that ``dataflow transfer --format json`` prints."""

    bytes_sent: int = 0
    """Bytes that were copied to the target."""
    bytes_resumed: int = 0
    """Bytes that an attempt before this one had already copied, found whole and left alone."""
    bytes_skipped: int = 0
    """Bytes of files that did not have to be copied, because the target was complete before."""
    files: int = 0
    """Files that the target has now, copied, resumed and skipped."""
    parts_retried: int = 0
    """Parts that had to be sent again; a part is a whole file."""
    seconds: float = 0.0
    """Wall-clock seconds."""

    def __add__(self, other: TransferReport) -> TransferReport:
        """Return the report of two transfers that followed each other."""
        return TransferReport(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


class Tally:
    """Counts of a transfer that is under way; safe to use from several threads.

    :param what: name of the work in progress messages.
    :param total_bytes: bytes that have to be at the target in the end.
    :param progress: told about every file.
    """

    def __init__(self, what: str, total_bytes: int, progress: Progress) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._progress = progress
        self._lock = threading.Lock()
        self._counts = {"bytes_sent": 0, "bytes_resumed": 0, "bytes_skipped": 0}
        self._files = 0
        self._parts_retried = 0
        self._start = time.monotonic()

    def sent(self, size: int) -> None:
        """Count a file that was copied."""
        self._count("bytes_sent", size)

    def resumed(self, size: int) -> None:
        """Count a file that an earlier attempt had copied."""
        self._count("bytes_resumed", size)

    def skipped(self, size: int) -> None:
        """Count a file that needed no copy."""
        self._count("bytes_skipped", size)

    def retried(self) -> None:
        """Count a file that is sent once more."""
        with self._lock:
            self._parts_retried += 1

    def _count(self, field: str, size: int) -> None:
        with self._lock:
            self._counts[field] += size
            self._files += 1
            self._progress(self._what, sum(self._counts.values()), self._total_bytes, "bytes")

    def report(self) -> TransferReport:
        """Return the counts so far."""
        with self._lock:
            return TransferReport(
                **self._counts,
                files=self._files,
                parts_retried=self._parts_retried,
                seconds=round(time.monotonic() - self._start, 3),
            )
