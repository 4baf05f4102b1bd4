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
    """Parts that had to be sent again; a small file is one part."""
    seconds: float = 0.0
    """Wall-clock seconds."""
    files_removed: int = 0
    """Files at the target that the source does not have, and that a mirror has removed."""
    bytes_stored: int = 0
    """Bytes that the target stores for what was sent compressed or packed; 0 where all is stored as it is."""

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
    :param progress: told about every file and part.
    """

    def __init__(self, what: str, total_bytes: int, progress: Progress) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._progress = progress
        self._lock = threading.Lock()
        self._counts = {field.name: 0 for field in fields(TransferReport) if field.name != "seconds"}
        self._start = time.monotonic()

    def sent(self, size: int) -> None:
        """Count a file that was copied."""
        self._count(files=1, bytes_sent=size)

    def resumed(self, size: int) -> None:
        """Count a file that an earlier attempt had copied."""
        self._count(files=1, bytes_resumed=size)

    def skipped(self, size: int) -> None:
        """Count a file that needed no copy."""
        self._count(files=1, bytes_skipped=size)

    def part_sent(self, size: int) -> None:
        """Count a part of a file that was copied; :meth:`whole` counts the file."""
        self._count(bytes_sent=size)

    def part_resumed(self, size: int) -> None:
        """Count a part of a file that an earlier attempt had copied."""
        self._count(bytes_resumed=size)

    def whole(self) -> None:
        """Count a file of which all parts were counted."""
        self._count(files=1)

    def retried(self) -> None:
        """Count a part that is sent once more."""
        self._count(parts_retried=1)

    def removed(self) -> None:
        """Count a file that was removed from the target."""
        self._count(files_removed=1)

    def stored(self, size: int) -> None:
        """Count bytes that the target stores for what was sent compressed or packed."""
        self._count(bytes_stored=size)

    def _count(self, **more: int) -> None:
        with self._lock:
            for field, count in more.items():
                self._counts[field] += count
            if "files" in more or "bytes_sent" in more or "bytes_resumed" in more:
                done = sum(self._counts[field] for field in ("bytes_sent", "bytes_resumed", "bytes_skipped"))
                self._progress(self._what, done, self._total_bytes, "bytes")

    def report(self) -> TransferReport:
        """Return the counts so far."""
        with self._lock:
            return TransferReport(**self._counts, seconds=round(time.monotonic() - self._start, 3))
