"""Files that are read and written in parts: pinned to one state of the source, and resumed by another process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar


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
        """

    @abstractmethod
    def publish(self, tokens: Sequence[str], *, exclusive: bool = False) -> None:
        """Make the file visible, in place of one that is there.

        :param tokens: what :meth:`put` returned for each part, in the order of the parts.
        :param exclusive: refuse to replace a file.
        :raises FileExistsError: when ``exclusive`` and the file is there.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove what was written; doing it again changes nothing."""
