"""What the tests of faults share: files of a few small parts, places for them, and what must never be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from airflow_dataflow.storage.backends import _s3_stamps
from airflow_dataflow.storage.backends.local import LocalBackend
from airflow_dataflow.storage.backends.s3 import S3Backend
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer import retry, small
from airflow_dataflow.transfer.copy import copy_path
from airflow_dataflow.transfer.journal import Journal, NoJournal
from airflow_dataflow.transfer.limits import Control, Limits
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.report import TransferReport

PART_BYTES = 64 << 10
SMALL_BYTES = 16 << 10
"""Files up to this size are sent whole in these tests."""
WORKERS = 3
OPTIONS = TransferOptions(parts_at_once=WORKERS)
LARGE = "deep/large.bin"
SMALL = "small.bin"


def make_files(seed: int = 4) -> dict[str, bytes]:
    """Return files by path: of many parts, of exactly some, small, empty, and with odd names."""
    draw = Random(seed)
    sizes = {LARGE: 9 * PART_BYTES + 123, "exact.bin": 4 * PART_BYTES, SMALL: 5000, "empty": 0, "dëep/a +%.txt": 700}
    sizes |= {f"many/{number}.bin": draw.randrange(SMALL_BYTES) for number in range(12)}
    return {path: draw.randbytes(size) for path, size in sizes.items()}


FILES = make_files()
TOTAL_BYTES = sum(map(len, FILES.values()))


def use_small_parts(part_bytes: int = PART_BYTES) -> None:
    """Let this process, which ends with its test, cut files into small parts."""
    for owner, name, value in small_parts(part_bytes):
        setattr(owner, name, value)


def small_parts(part_bytes: int = PART_BYTES) -> Iterator[tuple[Any, str, Any]]:
    """Return what has to be set so that files are cut into small parts, and retries come soon."""
    for backend in (LocalBackend, S3Backend):
        yield backend, "part_bytes", lambda _self, _size: part_bytes
    yield _s3_stamps, "_USUAL_PART_BYTES", (part_bytes,)
    yield small, "SMALL_FILE_BYTES", SMALL_BYTES
    yield retry, "FIRST_PAUSE_SECONDS", 0.01
    yield retry, "LONGEST_PAUSE_SECONDS", 0.5


@dataclass(frozen=True)
class Place:
    """A folder, as the transfer sees it and as it is."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    """How the transfer gets there, perhaps through the faulty link."""
    past: dict[str, Any] = field(default_factory=dict)
    """How the test gets there, past the link."""

    @property
    def inside(self) -> Directory:
        """The folder, past the link."""
        return Directory.from_url(self.url, self.past)

    def child(self, name: str) -> Place:
        """Return a place below this one."""
        return replace(self, url=f"{self.url}/{name}")

    def fill(self, files: Mapping[str, bytes]) -> None:
        """Write files."""
        for path, content in files.items():
            with self.inside.create(path) as writer:
                writer.write(content)

    def content(self) -> dict[str, bytes]:
        """Return what a reader of the folder sees."""
        inside = self.inside
        return {path: inside.read(path) for path in inside.files()}


@dataclass(frozen=True)
class Way:
    """From where to where."""

    source: Place
    target: Place

    def run(
        self,
        path: str = "",
        *,
        options: TransferOptions = OPTIONS,
        journal: Journal | None = None,
        control: Control | None = None,
        progress: Callable[..., None] | None = None,
    ) -> TransferReport:
        """Copy the folder, or one file of it."""
        more = {} if progress is None else {"progress": progress}
        suffix = f"/{path}" if path else ""
        return copy_path(
            self.source.url + suffix,
            self.target.url + suffix,
            source_options=self.source.options,
            target_options=self.target.options,
            options=options,
            journal=journal or NoJournal(),
            control=control or Control(base=Limits(parts_at_once=options.parts_at_once)),
            **more,
        )


def assert_nothing_half(target: Place, files: Mapping[str, bytes] = FILES) -> dict[str, bytes]:
    """Check that each file that a reader sees is whole, and return them."""
    seen = target.content()
    for path, content in seen.items():
        assert content == files[path], f"{path} is visible, and is not what was sent"
    return seen


def unfinished(place: Path) -> list[Path]:
    """Return the hidden files of uploads below a local folder."""
    return [path for path in place.rglob(".*.partial") if path.is_file()]


OpenJournal = Callable[[], AbstractContextManager[Journal]]
