"""Rows about transfers that are under way: who is at work on each, and the lines of its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

import sqlalchemy as sa
import zstandard
from sqlalchemy.engine import Connection

from airflow_dataflow.datasets.catalog.database import Database
from airflow_dataflow.datasets.catalog.rows import now, put
from airflow_dataflow.datasets.catalog.tables import transfer_records, transfers

_RECORD_BYTES = 1 << 20
"""Most bytes of lines in one record, before they are compressed; MariaDB takes statements of 16 MiB."""
_SMALL_BYTES = 64 << 10
_MOST_SMALL = 64
"""So many small records that follow each other become one, so that hours of writing every second leave few rows."""


@dataclass(frozen=True)
class TransferRow:
    """A transfer that is under way, or was left."""

    id: str
    """Digest of what is transferred, from where, to where."""
    target: str
    """URL of the target, without credentials."""
    owner: str | None
    """Process that is at work on it."""
    touched_at: datetime
    """When its process was last alive: UTC, without a zone."""


class TransferRows:
    """The rows of transfers.

    :param database: the catalog's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, transfer: str) -> TransferRow | None:
        """Return a transfer, ``None`` when nobody has begun it."""
        return next(iter(self._found(sa.select(transfers).where(transfers.c.id == transfer))), None)

    def untouched_since(self, moment: datetime) -> list[TransferRow]:
        """Return the transfers whose processes were last alive before a moment, in UTC and without a zone."""
        return self._found(sa.select(transfers).where(transfers.c.touched_at < moment).order_by(transfers.c.id))

    def _found(self, statement: sa.Select[tuple[str, str, str | None, datetime]]) -> list[TransferRow]:
        rows = self._database.rows(statement)
        return [TransferRow(id=row.id, target=row.target, owner=row.owner, touched_at=row.touched_at) for row in rows]

    def claim(self, transfer: str, target: str, owner: str, *, seen: TransferRow | None) -> bool:
        """Make a process the owner of a transfer, unless its row is no longer as it was seen.

        :param target: URL of the target, without credentials.
        :param owner: name of the process.
        :param seen: the row as it was, ``None`` when there was none.
        :returns: whether the process owns it now.
        """
        mine = {"owner": owner, "touched_at": now()}

        def work(connection: Connection) -> None:
            if seen is None:
                try:
                    with connection.begin_nested():
                        connection.execute(transfers.insert().values(id=transfer, target=target, **mine))
                except sa.exc.IntegrityError:
                    return  # somebody else was faster
            else:
                known = transfers.c.owner.is_(None) if seen.owner is None else transfers.c.owner == seen.owner
                as_seen = sa.and_(transfers.c.id == transfer, known, transfers.c.touched_at == seen.touched_at)
                connection.execute(transfers.update().where(as_seen).values(**mine))

        self._database.transact(work)
        row = self.find(transfer)
        return row is not None and row.owner == owner

    def touch(self, transfer: str, owner: str) -> bool:
        """Say that the owner is alive, and return whether it is the owner still."""
        return self._database.transact(lambda connection: _touch(connection, transfer, owner))

    def let_go(self, transfer: str, owner: str, *, keep: bool) -> None:
        """Give a transfer up.

        :param keep: whether another attempt goes on with what was written; otherwise all is forgotten.
        """
        mine = sa.and_(transfers.c.id == transfer, transfers.c.owner == owner)
        statement = transfers.update().where(mine).values(owner=None) if keep else transfers.delete().where(mine)
        self._database.transact(lambda connection: connection.execute(statement))

    def read(self, transfer: str) -> list[str]:
        """Return the lines of a transfer's journal."""
        records = sa.select(transfer_records.c.content).where(transfer_records.c.transfer == transfer)
        rows = self._database.rows(records.order_by(transfer_records.c.number))
        return [line for row in rows for line in _unpacked(row.content)]

    def clear(self, transfer: str) -> None:
        """Remove the lines of a transfer's journal."""
        statement = transfer_records.delete().where(transfer_records.c.transfer == transfer)
        self._database.transact(lambda connection: connection.execute(statement))

    def append(self, transfer: str, owner: str, lines: Sequence[str]) -> bool:
        """Add lines to a transfer's journal, and say that its owner is alive.

        :returns: whether it is the owner still; otherwise nothing was added.
        """
        contents = [_packed(chunk) for chunk in _chunks(lines)]
        last: int | None = None

        def work(connection: Connection) -> bool:
            nonlocal last
            if not _touch(connection, transfer, owner):
                return False
            if last is None:  # a second try, after a commit whose answer was lost, writes the same rows
                newest = sa.select(sa.func.max(transfer_records.c.number))
                last = connection.execute(newest.where(transfer_records.c.transfer == transfer)).scalar() or 0
            for number, content in enumerate(contents, start=last + 1):
                put(connection, transfer_records, {"transfer": transfer, "number": number}, {"content": content})
            return True

        owned = self._database.transact(work)
        if owned and last is not None and (last + len(contents)) // _MOST_SMALL > last // _MOST_SMALL:
            self._database.transact(lambda connection: _merge(connection, transfer, owner))
        return owned


def _touch(connection: Connection, transfer: str, owner: str) -> bool:
    mine = sa.and_(transfers.c.id == transfer, transfers.c.owner == owner)
    return connection.execute(transfers.update().where(mine).values(touched_at=now())).rowcount > 0


def _merge(connection: Connection, transfer: str, owner: str) -> None:
    """Put the small records at the end of a journal together."""
    if not _touch(connection, transfer, owner):
        return
    records = sa.select(transfer_records.c.number, transfer_records.c.content)
    of_transfer = transfer_records.c.transfer == transfer
    last = records.where(of_transfer).order_by(transfer_records.c.number.desc()).limit(_MOST_SMALL)
    found = connection.execute(last).all()
    small = list(takewhile(lambda row: len(row.content) < _SMALL_BYTES, found))[::-1]
    if len(small) > 1:
        lines = [line for row in small for line in _unpacked(row.content)]
        numbers = [row.number for row in small]
        connection.execute(transfer_records.delete().where(of_transfer, transfer_records.c.number.in_(numbers)))
        put(connection, transfer_records, {"transfer": transfer, "number": numbers[-1]}, {"content": _packed(lines)})


def _packed(lines: Sequence[str]) -> bytes:
    return zstandard.compress("\n".join(lines).encode("ascii"))


def _unpacked(content: bytes) -> list[str]:
    return zstandard.decompress(content).decode("ascii").split("\n")


def _chunks(lines: Sequence[str]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    size = 0
    for line in lines:
        if size and size + len(line) > _RECORD_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += len(line)
    return chunks
