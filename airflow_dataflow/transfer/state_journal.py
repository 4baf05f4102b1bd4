"""The journal of a transfer among short values that somebody keeps by key, such as the state of a task in Airflow."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import zstandard

from airflow_dataflow.transfer.journal_log import LogJournal

_VALUE_BYTES = 32 << 10
"""Airflow warns of values of more than 64 KiB."""
_LINES_BYTES = 2 * _VALUE_BYTES
"""Lines that go together; compressed and as text, even those without any pattern are shorter."""
_PAUSE_SECONDS = 0.1
"""Each write is a request to Airflow's API server."""


class State(Protocol):
    """Values by key; Airflow's ``task_state_store`` is one."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""

    def delete(self, key: str) -> None:
        """Remove a value; one that is not there is no error."""


class StateLog:
    """Lines in the values ``transfer``, ``transfer.1``, ``transfer.2`` and so on.

    The first one says which transfer they are about, and how many there are: after another transfer by the same task
    nothing is resumed. Whoever keeps the state lets one process at a time write it.

    :param state: where the values are kept.
    :param transfer: id of the transfer.
    """

    def __init__(self, state: State, transfer: str) -> None:
        self._state = state
        self._transfer = transfer
        self._values = 0
        self._last: list[str] = []

    def open(self) -> None:
        """Find what earlier attempts have written, and remove it when it is about another transfer."""
        head = self._state.get("transfer")
        values = head.get("values") if isinstance(head, dict) else None
        self._values = values if isinstance(values, int) else 0
        if isinstance(head, dict) and head.get("id") != self._transfer:
            self.clear()
        elif self._values:
            self._last = self._lines(self._values)

    def read(self) -> Iterable[str]:
        """Return the lines."""
        return [line for number in range(1, self._values + 1) for line in self._lines(number)]

    def _lines(self, number: int) -> list[str]:
        value = self._state.get(f"transfer.{number}")
        if not isinstance(value, str):
            return []
        try:
            return zstandard.decompress(base64.b64decode(value)).decode("ascii").split("\n")
        except (ValueError, zstandard.ZstdError):
            return []  # what it said is done again

    def append(self, lines: Sequence[str]) -> None:
        """Add lines."""
        last, number = list(self._last), self._values
        for group in _groups(lines):
            value = _packed([*last, *group]) if number else ""
            if not number or len(value) > _VALUE_BYTES:
                number, last = number + 1, []
                value = _packed(group)
            last += group
            self._state.set(f"transfer.{number}", value)
        if number != self._values:
            # Lines that the head does not count are lines of a write that was cut off.
            self._state.set("transfer", {"id": self._transfer, "values": number})
        self._last, self._values = last, number

    def clear(self) -> None:
        """Remove the lines."""
        for number in range(self._values, 0, -1):
            self._state.delete(f"transfer.{number}")
        self._state.delete("transfer")
        self._values, self._last = 0, []

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _packed(lines: Sequence[str]) -> str:
    return base64.b64encode(zstandard.compress("\n".join(lines).encode("ascii"))).decode("ascii")


def _groups(lines: Sequence[str]) -> Iterable[list[str]]:
    group: list[str] = []
    size = 0
    for line in lines:
        if size + len(line) > _LINES_BYTES and group:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line)
    yield group


class StateJournal(LogJournal):
    """A journal in the state of a task, see :class:`StateLog`."""

    def __init__(self, state: State, transfer: str) -> None:
        super().__init__(StateLog(state, transfer), pause_seconds=_PAUSE_SECONDS)
