"""The journal of a transfer: what an attempt that was killed had done, so that the next one need not do it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class FileProgress:
    """How far one file is at the target."""

    source_stamp: str | None
    """What :meth:`Backend.stamp` said of the source when it was begun; another state of it is another file."""
    bytes: int
    """Size of the source in bytes."""
    target_stamp: str | None = None
    """What the target's stamp was when the file was whole there; ``None`` while it is not."""
    part_bytes: int = 0
    """Size of its parts; 0 for a file that is written at once."""
    handle: str | None = None
    """:attr:`Upload.handle`; ``None`` for a file that is written at once."""
    parts: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Parts that the target has, by number: the token that publishes each, and the digest of what was read for it."""


class Journal(Protocol):
    """Where a transfer writes down how far it is.

    What is written need not be on disk at once: what is lost is done again. It must be there after the process is
    killed, though, but for what happened in its last seconds.
    """

    def load(self) -> dict[str, FileProgress]:
        """Return what earlier attempts at the same transfer have written, by path below the target."""

    def save(self, files: Mapping[str, FileProgress]) -> None:
        """Write down how far some files are, in place of what was known of them; safe to call from several threads."""

    def clear(self) -> None:
        """Forget all: the transfer is whole."""


class NoJournal:
    """A journal that forgets; what the target has whole is found by its content."""

    def load(self) -> dict[str, FileProgress]:
        """Return nothing."""
        return {}

    def save(self, files: Mapping[str, FileProgress]) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""
