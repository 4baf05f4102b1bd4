"""What the tests of the engine share: files of several tiny parts, a journal in memory, and harm at chosen moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_dataflow.storage.backends._local_parts import LocalUpload
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport

PART_BYTES, SMALL_BYTES = 1000, 100
PARTS = 20
LARGE = Random(4).randbytes(PARTS * PART_BYTES - 10)
FILES = {"large": LARGE, "small": b"x" * SMALL_BYTES, "empty": b""}
TOTAL_BYTES = sum(map(len, FILES.values()))


class Notes:
    """A journal in memory, which outlives transfers that fail."""

    def __init__(self) -> None:
        self.files: dict[str, FileProgress] = {}

    def load(self) -> dict[str, FileProgress]:
        """Return what was saved."""
        return dict(self.files)

    def save(self, files: Mapping[str, FileProgress]) -> None:
        """Keep a copy, as what is saved changes."""
        for path, progress in files.items():
            self.files[path] = FileProgress(**{**vars(progress), "parts": dict(progress.parts)})

    def clear(self) -> None:
        """Forget all."""
        self.files = {}


def copy(source: Path | str, target: Path | str, **options: Any) -> TransferReport:
    """Copy with options, a journal and a control."""
    how = {name: options.pop(name) for name in ("journal", "control") if name in options}
    return copy_path(str(source), str(target), options=TransferOptions(**options), **how)


def puts(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Call ``act`` with the number of each part right after it was written."""
    original = LocalUpload.put

    def put(self: LocalUpload, number: int, data: Any) -> str:
        token = original(self, number, data)
        act(number)
        return token

    monkeypatch.setattr(LocalUpload, "put", put)


def reads(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, int, bytes], bytes], root: Path) -> None:
    """Let ``change`` return what is read below ``root``, from path, first byte, and what is truly there."""
    original = Directory.read_range

    def read_range(self: Directory, relative: str, start: int, length: int, *, pin: str | None = None) -> bytes:
        data = original(self, relative, start, length, pin=pin)
        return change(relative, start, data) if self.root == str(root) else data

    monkeypatch.setattr(Directory, "read_range", read_range)


def flipped(data: bytes) -> bytes:
    """Return bytes of which one bit differs."""
    return bytes([data[0] ^ 1]) + data[1:] if data else data


def failing(times: int, error: Exception) -> Callable[..., None]:
    """Return a function that raises an error the first few times."""
    left = iter(range(times))

    def fail(*_args: Any) -> None:
        if next(left, None) is not None:
            raise error

    return fail
