"""Which objects a watcher has announced: eight bytes each, kept where a restarted triggerer finds them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from airflow_dataflow.errors import NotFoundError

if TYPE_CHECKING:
    from airflow_dataflow.storage.directory import Directory
    from airflow_dataflow.storage.listing import FoundFile

_MARK_BYTES = 8
_MARKS_OF_A_SHARD = 4096
"""So a stored value stays under 64 KiB, above which Airflow warns."""


class StateStore(Protocol):
    """Keeps texts by name."""

    async def read(self, name: str) -> str | None:
        """Return a text, ``None`` when there is none."""

    async def write(self, name: str, text: str) -> None:
        """Keep a text, and return when a crash cannot lose it any more."""


class AssetStateStore:
    """Keeps texts with the asset that is watched, in Airflow's own database; from Airflow 3.3 on.

    :param accessors: what the triggerer gives to the trigger.
    """

    def __init__(self, accessors: Any) -> None:
        # Two assets can be watched by one trigger, which is not told their names in any other way.
        self._accessors = list(accessors._by_name.values())  # noqa: SLF001

    async def read(self, name: str) -> str | None:
        """Return a text, from whichever asset has it."""
        for accessor in self._accessors:
            text = await accessor.aget(name)
            if text is not None:
                return str(text)
        return None

    async def write(self, name: str, text: str) -> None:
        """Keep a text with every asset, since any of them may go."""
        for accessor in self._accessors:
            await accessor.aset(name, text)


class FolderStateStore:
    """Keeps texts as files of a folder.

    :param run: runs a function in a thread.
    :param folder: the folder.
    """

    def __init__(self, run: Callable[..., Any], folder: Directory) -> None:
        self._run = run
        self._folder = folder

    async def read(self, name: str) -> str | None:
        """Return the content of a file."""
        try:
            content = await self._run(self._folder.read, name)
        except NotFoundError:
            return None
        return str(content.decode())

    async def write(self, name: str, text: str) -> None:
        """Write a file, which appears whole or not at all."""
        await self._run(self._write, name, text)

    def _write(self, name: str, text: str) -> None:
        with self._folder.create(name) as file:
            file.write(text.encode())


class KnownObjects:
    """The marks of all objects that lie there and were announced, in shards of bounded size.

    :param store: where they are kept.
    :param name: begins the names of their texts.
    """

    def __init__(self, store: StateStore, name: str) -> None:
        self._store = store
        self._name = name
        self._shards: list[set[int]] = []
        self._shard_of: dict[int, int] = {}
        self._dirty: set[int] = set()
        self.is_new = True
        """Whether nothing was ever kept here."""
        self.maybe_announced: frozenset[int] = frozenset()
        """What a killed triggerer was announcing: nobody knows whether Airflow has the events."""

    def __contains__(self, mark: int) -> bool:
        return mark in self._shard_of

    def __iter__(self) -> Iterator[int]:
        return iter(self._shard_of)

    async def load(self) -> None:
        """Read all that is kept."""
        self._shards, self._shard_of = [], {}
        while (text := await self._store.read(f"{self._name}.{len(self._shards)}")) is not None:
            shard = _decode(text)
            self._shard_of |= dict.fromkeys(shard, len(self._shards))
            self._shards.append(shard)
        self.is_new = not self._shards
        self.maybe_announced = frozenset(_decode(await self._store.read(f"{self._name}.sending") or ""))

    async def intend(self, marks: Collection[int]) -> None:
        """Keep that the events of these objects are about to be made."""
        await self._store.write(f"{self._name}.sending", _encode(marks))

    async def change(self, *, added: Iterable[int] = (), gone: Iterable[int] = ()) -> None:
        """Keep that objects were announced, or lie there no more."""
        for mark in gone:
            if (number := self._shard_of.pop(mark, None)) is not None:
                self._shards[number].discard(mark)
                self._dirty.add(number)
        free = [number for number, shard in enumerate(self._shards) if len(shard) < _MARKS_OF_A_SHARD]
        for mark in added:
            if mark in self._shard_of:
                continue
            if not free:
                free.append(len(self._shards))
                self._shards.append(set())
            self._shards[free[-1]].add(mark)
            self._shard_of[mark] = free[-1]
            self._dirty.add(free[-1])
            if len(self._shards[free[-1]]) >= _MARKS_OF_A_SHARD:
                free.pop()
        if self.is_new and not self._shards:
            self._shards.append(set())
            self._dirty.add(0)
        # In ascending order: a reader stops at the first shard that is not there.
        for number in sorted(self._dirty):
            await self._store.write(f"{self._name}.{number}", _encode(self._shards[number]))
            self._dirty.discard(number)
        self.is_new = False


def mark_of(file: FoundFile) -> int:
    """Return what an object is known by: its path, and its content as far as a listing tells."""
    import xxhash

    return int(xxhash.xxh3_64_intdigest(_as_bytes(file.path, file.stamp, file.bytes)))


def id_of(file: FoundFile) -> str:
    """Return the name of one arrival, 16 hexadecimal digits: other when the same content is delivered again."""
    import xxhash

    return str(xxhash.xxh3_64_hexdigest(_as_bytes(file.path, file.stamp, file.bytes, file.modified)))


def _as_bytes(*parts: object) -> bytes:
    # Names on local disks need not be text.
    return "\0".join(str(part) for part in parts).encode("utf-8", "surrogateescape")


def _encode(marks: Iterable[int]) -> str:
    return base64.b64encode(b"".join(mark.to_bytes(_MARK_BYTES) for mark in sorted(marks))).decode()


def _decode(text: str) -> set[int]:
    data = base64.b64decode(text)
    return {int.from_bytes(data[start : start + _MARK_BYTES]) for start in range(0, len(data), _MARK_BYTES)}
