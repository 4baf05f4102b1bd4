"""Whether files that were sent in packs are what their digests say, found out while they are read where possible."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.transfer.packing_plan import FilePiece, Packable, PackPlan

_LOOK_SECONDS = 0.2
"""Longest time between two looks at whether it is of use to wait any longer."""

Found = tuple[str, int]
"""Digest and size in bytes."""


class _Chain:
    """The digest of a file whose pieces are read by several workers; each waits for its turn."""

    def __init__(self, *, broken: bool) -> None:
        self.digest = Digest()
        self.at = 0
        self.broken = broken
        self._changed = threading.Condition()

    def feed(self, start: int, data: memoryview, check: Callable[[], None]) -> None:
        with self._changed:
            while self.at != start and not self.broken:
                check()
                self._changed.wait(_LOOK_SECONDS)
            if not self.broken:
                self.digest.update(data)
                self.at += len(data)
                self._changed.notify_all()

    def give_up(self) -> None:
        with self._changed:
            self.broken = True
            self._changed.notify_all()


class Proofs:
    """What one round of writing packs has proved of the files in them.

    :param files: all files of the transfer.
    :param plans: the packs of this round, in the order in which they are begun.
    :param packs_of: numbers of the packs that hold each file.
    """

    def __init__(
        self, files: Sequence[Packable], plans: Sequence[PackPlan], packs_of: dict[int, frozenset[int]]
    ) -> None:
        self._files = files
        written = {plan.number for plan in plans}
        touched = {piece.file for plan in plans for piece in plan.pieces}
        self._chains = {
            index: _Chain(broken=not packs_of[index] <= written)
            for index in touched
            if len(packs_of[index]) > 1 and files[index].digest is not None
        }
        self._wrong: dict[int, Found] = {}

    def read(self, piece: FilePiece, data: memoryview, check: Callable[[], None]) -> bool:
        """Take the bytes of a piece, and tell whether they may be what the file's digest says.

        :param check: raises an error when it is of no use to wait for the pieces before this one.
        """
        file = self._files[piece.file]
        if file.digest is None:
            return True
        chain = self._chains.get(piece.file)
        if chain is not None:
            chain.feed(piece.start, data, check)
            return True
        digest = Digest()
        digest.update(data)
        if str(digest) == file.digest:
            self._wrong.pop(piece.file, None)
            return True
        self._wrong[piece.file] = (str(digest), len(data))
        return False

    def not_read(self, plan: PackPlan) -> None:
        """Note that a pack was there already, so that its bytes do not pass by."""
        for piece in plan.pieces:
            if piece.file in self._chains:
                self._chains[piece.file].give_up()

    def results(self) -> tuple[dict[int, Found], list[int]]:
        """Return the files that are wrong, with what was found, and those that have to be read back to know."""
        wrong = dict(self._wrong)
        for index, chain in self._chains.items():
            found = (str(chain.digest), chain.at)
            if not chain.broken and found != (self._files[index].digest, self._files[index].bytes):
                wrong[index] = found
        return wrong, [index for index, chain in self._chains.items() if chain.broken]


def packs_of_files(plans: Iterable[PackPlan]) -> dict[int, frozenset[int]]:
    """Return the numbers of the packs that hold each file, by the number of the file."""
    found: dict[int, set[int]] = defaultdict(set)
    for plan in plans:
        for piece in plan.pieces:
            found[piece.file].add(plan.number)
    return {index: frozenset(numbers) for index, numbers in found.items()}
