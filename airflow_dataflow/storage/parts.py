"""Files that are read and written in parts: pinned to one state of the source, and resumed by another process."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_dataflow.errors import InvalidInputError, TransferError


@dataclass(frozen=True)
class Parts:
    """Where the parts of a file lie; all of them have one size, but the last."""

    size: int
    """Size of the file in bytes."""
    part_bytes: int
    """Size of a part in bytes."""

    @property
    def count(self) -> int:
        """Number of parts; an empty file has one, which is empty."""
        return max(1, -(-self.size // self.part_bytes))

    def start(self, number: int) -> int:
        """Return the place of a part's first byte."""
        return number * self.part_bytes

    def length(self, number: int) -> int:
        """Return the size of a part in bytes."""
        return min(self.part_bytes, self.size - self.start(number))

    def check(self, number: int, length: int) -> None:
        """Refuse a part that is none of the file.

        :raises InvalidInputError: when there is no such part, or it has another size.
        """
        if not 0 <= number < self.count or length != self.length(number):
            raise InvalidInputError(f"{length:,} bytes are not part {number} of {self}")

    def check_all(self, count: int) -> None:
        """Refuse to end a file that lacks parts.

        :raises InvalidInputError: when ``count`` is not the number of parts.
        """
        if count != self.count:
            raise InvalidInputError(f"{count} parts are not the {self.count} of {self}")

    def __str__(self) -> str:
        return f"a file of {self.size:,} bytes in parts of {self.part_bytes:,}"


class DamagedError(TransferError):
    """Bytes arrived changed, and are to be sent again at once; accidents do not repeat, broken machines do."""


class LostUploadError(TransferError):
    """What was written of a file is gone, or cannot be used: it has to be begun anew, with all of its parts."""


class Upload(ABC):
    """A file in the making, which nobody sees before :meth:`publish`, and which outlives the process that began it.

    Several threads may write different parts at once, unless :attr:`in_order`. Doing a part again replaces it.
    """

    in_order: ClassVar[bool] = False
    """Whether parts have to come one after another, from the first on."""
    verifies: ClassVar[bool] = False
    """Whether the store itself refuses a part that arrives damaged, so that nothing has to be read back."""

    @property
    @abstractmethod
    def handle(self) -> str:
        """Text without secrets by which another process goes on, see :meth:`Backend.resume_upload`."""

    @abstractmethod
    def put(self, number: int, data: bytes | memoryview) -> str:
        """Write a part.

        :param number: place of the part, from 0; all parts have the size that the upload was begun with, but the last.
        :param data: its bytes.
        :returns: what :meth:`publish` needs to know of it; plain text that a journal keeps.
        :raises TransferError: when the store says that it arrived damaged.
        :raises LostUploadError: when the store knows nothing of this upload any more.
        """

    def read(self, number: int) -> bytes | None:  # noqa: ARG002 - subclasses look
        """Return a part as the store has it now, ``None`` where it shows nothing before :meth:`publish`."""
        return None

    @abstractmethod
    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Make the file visible, in place of one that is there; doing it again, as its answer was lost, is no error.

        :param tokens: what :meth:`put` returned for each part, in the order of the parts.
        :param exclusive: refuse to replace a file.
        :raises FileExistsError: when ``exclusive`` and the file is there.
        :raises LostUploadError: when the store lacks some of the parts.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove what was written; doing it again changes nothing."""


def sealed(path: str, *words: object) -> str:
    """Return words, none of which has a space, as the handle of an upload of ``path``."""
    text = " ".join(map(str, words))
    return f"{text} {_seal(path, text)}"


def unsealed(path: str, handle: str) -> str | None:
    """Return the words of a handle, ``None`` when it is damaged or belongs to another path.

    A seal finds accidents; it is no defence against forgery.
    """
    text, _, seal = handle.rpartition(" ")
    return text if handle.isprintable() and seal == _seal(path, text) else None


def _seal(path: str, text: str) -> str:
    return hashlib.blake2b(f"{path}\0{text}".encode(errors="surrogateescape"), digest_size=8).hexdigest()
