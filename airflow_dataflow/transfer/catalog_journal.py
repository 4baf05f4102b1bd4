"""The journal of a transfer in the catalog, where any machine finds it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_dataflow.errors import BusyError, DataflowError
from airflow_dataflow.transfer.journal_log import LogJournal
from airflow_dataflow.transfer.owner import is_gone, new_owner

if TYPE_CHECKING:
    from airflow_dataflow.datasets.catalog.catalog import Catalog
    from airflow_dataflow.datasets.catalog.transfers import TransferRow, TransferRows

log = logging.getLogger(__name__)

_ALIVE_SECONDS = 10.0
"""How often a process says that it is alive."""
_SILENT_SECONDS = 45.0
"""A process of another machine that is silent for so long has died."""
_LOOK_SECONDS = 1.0


class CatalogLog:
    """The lines of a transfer in the catalog.

    One process at a time has them. What a process of this machine held that has died is free at once; one of another
    machine has to be silent for a while.

    :param catalog: the catalog.
    :param transfer: id of the transfer.
    :param target: URL of its target, without credentials.
    :param sleep: waits for some seconds; may raise to end the waiting.
    """

    def __init__(
        self, catalog: Catalog, transfer: str, target: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._catalog = catalog
        self._transfer = transfer
        self._target = target
        self._sleep = sleep
        self._owner = new_owner()
        self._whole = False
        self._closed = threading.Event()
        self._pulse = threading.Thread(target=self._keep_alive, name="journal", daemon=True)

    @property
    def _rows(self) -> TransferRows:
        from airflow_dataflow.datasets.catalog.transfers import TransferRows

        return TransferRows(self._catalog.database)

    def open(self) -> None:
        """Become the owner.

        :raises BusyError: when another process is.
        """
        silent = _Silence()
        while not self._claim(silent):
            self._sleep(_LOOK_SECONDS)
        self._pulse.start()

    def _claim(self, silent: _Silence) -> bool:
        seen = self._rows.find(self._transfer)
        if seen is not None and seen.owner is not None and not silent.for_long(seen):
            gone = is_gone(seen.owner)
            if gone is False or (gone is None and silent.broken):
                raise BusyError(
                    f"another process is at work on the same transfer to {seen.target}; a retry goes on where it ended"
                )
            if gone is None:
                return False
        return self._rows.claim(self._transfer, self._target, self._owner, seen=seen)

    def _keep_alive(self) -> None:
        while not self._closed.wait(_ALIVE_SECONDS):
            try:
                self._rows.touch(self._transfer, self._owner)
            except Exception as error:  # noqa: BLE001 - the next time may succeed, and the transfer goes on anyway
                log.info("the catalog cannot be told that the transfer is alive: %s", error)

    def read(self) -> Iterable[str]:
        """Return the lines."""
        return self._rows.read(self._transfer)

    def append(self, lines: Sequence[str]) -> None:
        """Add lines.

        :raises BusyError: when another process has become the owner, since this one was silent for too long.
        """
        self._whole = False
        if not self._rows.append(self._transfer, self._owner, lines):
            raise BusyError(
                f"another process has taken over the transfer to {self._target}, because this one was silent for "
                f"{_SILENT_SECONDS:.0f} seconds; a retry goes on where it ended"
            )

    def clear(self) -> None:
        """Remove the lines; in the end nothing is left of the transfer."""
        self._rows.clear(self._transfer)
        self._whole = True

    def close(self) -> None:
        """Be the owner no longer."""
        self._closed.set()
        self._pulse.join()
        try:
            self._rows.let_go(self._transfer, self._owner, keep=not self._whole)
        except DataflowError as error:
            log.warning("the catalog cannot be told that the transfer has ended, the sweep will see it: %s", error)


class _Silence:
    """Finds out by our own clock for how long a row has not changed: clocks of machines differ."""

    def __init__(self) -> None:
        self._seen: TransferRow | None = None
        self._since = 0.0
        self.broken = False
        """Whether the row has changed since the first look."""

    def for_long(self, row: TransferRow) -> bool:
        if row != self._seen:
            self.broken = self._seen is not None
            self._seen, self._since = row, time.monotonic()
        return time.monotonic() - self._since >= _SILENT_SECONDS


class CatalogJournal(LogJournal):
    """A journal in the catalog, see :class:`CatalogLog`."""

    def __init__(
        self, catalog: Catalog, transfer: str, target: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(CatalogLog(catalog, transfer, target, sleep=sleep))
