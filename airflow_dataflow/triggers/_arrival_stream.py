"""Objects that were not there before, each until Airflow has its event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_dataflow.triggers._folders import Sight, Watched, wait_for_files
from airflow_dataflow.triggers._known_objects import KnownObjects, id_of, mark_of

if TYPE_CHECKING:
    from airflow_dataflow.storage.listing import FoundFile

log = logging.getLogger(__name__)

SENT_AT_ONCE = 100
"""Most events under way to Airflow's database; so many may come twice after a crash."""


@dataclass(frozen=True)
class Arrival:
    """An object that is not known yet."""

    mark: int
    """What it is known by."""
    payload: dict[str, Any]
    """What its event tells."""


@dataclass(frozen=True, kw_only=True)
class _Change:
    folder: str
    """What names are relative to."""
    new: list[tuple[int, FoundFile]] = field(default_factory=list)
    skipped: Collection[int] = ()
    gone: Collection[int] = ()


class ArrivalStream:
    """Yields what arrives, and remembers it once somebody says that it is stored.

    :param watched: the files.
    :param known: what was announced before.
    :param settle_seconds: how long a file may not have changed to have arrived.
    :param poke_interval: seconds between two looks.
    :param skip_existing: whether what lies there at the very first look does not count.
    """

    def __init__(
        self,
        watched: Watched,
        known: KnownObjects,
        *,
        settle_seconds: float,
        poke_interval: float,
        skip_existing: bool,
    ) -> None:
        self.watched = watched
        self.known = known
        self.settle_seconds = settle_seconds
        self.poke_interval = poke_interval
        self.skip_existing = skip_existing
        self._under_way: set[int] = set()
        self._all_stored = asyncio.Event()

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """Yield arrivals without an end, never more at once than may come twice."""
        await self._retried(self.known.load)
        while True:
            change = await self._retried(self._next_change)
            await self._retried(self.known.change, added=change.skipped, gone=change.gone)
            for start in range(0, len(change.new), SENT_AT_ONCE):
                batch = change.new[start : start + SENT_AT_ONCE]
                self._under_way = {mark for mark, _ in batch}
                self._all_stored.clear()
                await self._retried(self.known.intend, tuple(self._under_way))
                for mark, file in batch:
                    yield Arrival(mark, self._payload(file, change.folder))
                await self._all_stored.wait()

    async def stored(self, marks: Collection[int]) -> None:
        """Remember objects whose events cannot be lost any more."""
        await self._retried(self.known.change, added=marks)
        self._under_way.difference_update(marks)
        if not self._under_way:
            self._all_stored.set()

    def is_last(self, marks: Collection[int]) -> bool:
        """Tell whether nothing else is yielded before ``marks`` are stored."""
        return self._under_way <= set(marks)

    async def _retried(self, function: Callable[..., Awaitable[Any]], *arguments: Any, **more: Any) -> Any:
        """Try until it works: a watcher has nobody who could start it again."""
        while True:
            try:
                return await function(*arguments, **more)
            except Exception as error:  # noqa: BLE001 - whatever is wrong, a person may correct it
                log.warning("%s cannot be watched, trying again: %s", self.watched.plain, error)
                await asyncio.sleep(self.poke_interval)

    async def _next_change(self) -> _Change:
        change: _Change = await wait_for_files(
            self.watched, self._compare, settle_seconds=self.settle_seconds, poke_interval=self.poke_interval
        )
        return change

    def _compare(self, sight: Sight) -> _Change | None:
        there = {mark_of(file): file for file in sight.files}
        if self.known.is_new:
            return _Change(folder=sight.folder, skipped=there if self.skip_existing else ())
        if sight.missing:
            return None  # a disk that is not mounted has lost nothing
        complete = {file.path for file in sight.complete}
        new = [(mark, file) for mark, file in there.items() if file.path in complete and mark not in self.known]
        gone = [mark for mark in self.known if mark not in there]
        if not new and not gone:
            return None
        # What may have been announced comes first, so that its repetition follows it closely.
        new.sort(key=lambda item: (item[0] not in self.known.maybe_announced, item[1].modified or 0.0, item[1].path))
        return _Change(folder=sight.folder, new=new, gone=gone)

    def _payload(self, file: FoundFile, folder: str) -> dict[str, Any]:
        from airflow_dataflow.storage.listing import url_of

        name = file.path.removeprefix(folder.rstrip("/") + "/")
        modified = None if file.modified is None else datetime.fromtimestamp(file.modified, UTC).isoformat()
        return {
            "url": url_of(self.watched.plain, file.path),
            "name": name.encode("utf-8", "backslashreplace").decode(),
            "bytes": file.bytes,
            "stamp": file.stamp,
            "modified": modified,
            "id": id_of(file),
        }
