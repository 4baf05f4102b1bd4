"""Waiting for files: one listing of a folder for all who wait for something in it or below it."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from airflow_dataflow.hooks.storage import split_conn_id, storage_options
from airflow_dataflow.triggers._polls import Poll, Polls, Wait

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_dataflow.storage.listing import FoundFile, Listing, Selection

INGESTED = "ingested"
"""The formats that ``IngestDatasetOperator`` reads."""
ANY = "any"
"""All formats."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The files that somebody waits for."""

    url: str
    """Folder, file or pattern; may name a connection."""
    conn_id: str | None = None
    """Airflow connection that opens it; the one in the URL, or the default of its provider, when absent."""
    formats: str | Sequence[str] = INGESTED
    """Suffixes of files that count, ``ingested`` for those that an ingest reads, or ``any``."""

    @property
    def plain(self) -> str:
        """The URL without a connection in it."""
        return split_conn_id(self.url)[0]

    @property
    def place(self) -> tuple[str, str | None]:
        """What waits have in common that may share a look: scheme and host, and the connection."""
        scheme, separator, rest = self.plain.partition("://")
        remote = bool(separator) and scheme not in ("file", "local")
        return f"{scheme}://{rest.partition('/')[0]}" if remote else "", split_conn_id(self.url, self.conn_id)[1]

    def open(self) -> AbstractFileSystem:
        """Return the file system, with what its connection says now."""
        from airflow_dataflow.storage.backends import open_url

        return open_url(self.plain, storage_options(self.url, self.conn_id))[0]

    def selection(self, fs: AbstractFileSystem) -> Selection:
        """Return which files of the file system count."""
        from airflow_dataflow.storage.listing import Selection

        root = fs._strip_protocol(self.plain)  # noqa: SLF001 - fsspec has no other name for it
        return Selection(f"{root}/" if self.plain.endswith("/") else root, self._suffixes())

    def _suffixes(self) -> frozenset[str] | None:
        if self.formats == ANY:
            return None
        if self.formats == INGESTED:
            return _ingested_suffixes()
        names = (self.formats,) if isinstance(self.formats, str) else self.formats
        return frozenset(f".{name.lower().lstrip('.')}" for name in names)


@cache
def _ingested_suffixes() -> frozenset[str]:
    from airflow_dataflow.ingest.readers import build_readers

    return frozenset(build_readers({}))


@dataclass(frozen=True)
class Sight:
    """What a look found of the files that somebody waits for."""

    folder: str
    """The folder that was looked at for them."""
    files: list[FoundFile]
    """All files that count."""
    complete: list[FoundFile]
    """Those of them that have not changed for the settle time."""
    missing: bool
    """Whether the folder itself was not there."""

    @property
    def unsettled(self) -> bool:
        """Whether there are files that have changed within the settle time."""
        return len(self.complete) < len(self.files)


class Folder:
    """What lies in a folder, and since when each file is as it is; or single files of it.

    :param watched: names the file system.
    :param fs: the file system.
    :param folder: path of the folder.
    :param whole: whether to list all in it and below it, or only to look at the files of :attr:`paths`.
    """

    def __init__(self, watched: Watched, fs: AbstractFileSystem, folder: str, *, whole: bool) -> None:
        from airflow_dataflow.storage.listing import Listing

        self.folder = folder
        self.whole = whole
        self.paths: Counter[str] = Counter()
        """Single files that somebody waits for, with the number of waits."""
        self._watched = watched
        self._fs: AbstractFileSystem | None = fs
        self._listing = Listing()
        self._since: dict[str, float] = {}
        self._looked_at = 0.0

    def __str__(self) -> str:
        return f"{self._watched.plain.partition('://')[0]}://{self.folder}" if self._watched.place[0] else self.folder

    def look(self) -> bool:
        """List the folder, and tell whether anything differs from the last time."""
        begun = time.monotonic()
        # After an error the connection is asked again: somebody may have corrected it.
        fs, self._fs = self._fs or self._watched.open(), None
        listing = self._list(fs)
        self._fs = fs
        before, self._listing, self._looked_at = self._listing, listing, begun
        self._since = {
            path: self._since[path] if before.files.get(path) == file else begun for path, file in listing.files.items()
        }
        return (before.files, before.missing) != (listing.files, listing.missing)

    def _list(self, fs: AbstractFileSystem) -> Listing:
        from airflow_dataflow.storage.backends import backend_of, errors_explained
        from airflow_dataflow.storage.listing import list_files, look_at

        with errors_explained(str(self), backend_of(fs), self.folder):
            return list_files(fs, self.folder) if self.whole else look_at(fs, tuple(self.paths))

    def sight(self, selection: Selection, settle_seconds: float) -> Sight:
        """Return what the last look found of a selection of files."""
        files = selection(self._listing)
        limit = self._looked_at - settle_seconds
        complete = [file for file in files if self._since[file.path] <= limit]
        return Sight(selection.folder, files, complete, self._listing.missing)


def look_twice(watched: Watched, settle_seconds: float) -> Sight:
    """Look, and once more after the settle time when there is anything."""
    fs = watched.open()
    selection = watched.selection(fs)
    folder = Folder(watched, fs, selection.folder, whole=not selection.names_a_file)
    folder.paths[selection.root] += 1
    folder.look()
    if folder.sight(selection, settle_seconds).unsettled:
        time.sleep(settle_seconds)
        folder.look()
    return folder.sight(selection, settle_seconds)


async def wait_for_files(
    watched: Watched, enough: Callable[[Sight], Any], *, settle_seconds: float, poke_interval: float
) -> Any:
    """Wait in the event loop that runs, sharing looks with all others that wait for files near these.

    :param watched: the files.
    :param enough: called in a thread with what each look found; the wait ends with the first answer but ``None``.
    :param settle_seconds: how long a file may not have changed to count as complete.
    :param poke_interval: most seconds between two looks.
    :returns: the answer.
    :raises TerminalError: when looking fails in a way that no later look can change.
    """
    polls = Polls.here()
    fs = await _file_system(polls, watched)
    selection = await polls.in_thread(watched.selection, fs)

    def judge(folder: Folder) -> Any:
        sight = folder.sight(selection, settle_seconds)
        wait.again_seconds = settle_seconds if sight.unsettled else None
        return enough(sight)

    wait = Wait(judge=judge, poke_interval=poke_interval)
    poll, folder = _poll(polls, watched, fs, selection)
    folder.paths[selection.root] += 1
    try:
        return await polls.answer(wait, poll)
    finally:
        folder.paths[selection.root] -= 1
        folder.paths += Counter()  # drops what nobody waits for any more


async def _file_system(polls: Polls, watched: Watched) -> AbstractFileSystem:
    """Return the file system of a place, which all its waits share: thousands would ask for its connection else."""
    if watched.place not in polls.kept:
        polls.kept[watched.place] = asyncio.ensure_future(polls.in_thread(watched.open))
    opened = polls.kept[watched.place]
    try:
        return await asyncio.shield(opened)
    except Exception:
        if polls.kept.get(watched.place) is opened:
            del polls.kept[watched.place]
        raise


def _poll(polls: Polls, watched: Watched, fs: AbstractFileSystem, selection: Selection) -> tuple[Poll, Folder]:
    """Return the poll that lists the folder or one above it, else a new one, which takes over those below it."""
    for folder in _with_parents(selection.folder):
        if (watched.place, folder, "all") in polls.running:
            return _found(polls, (watched.place, folder, "all"))
    whole = not selection.names_a_file
    key = (watched.place, selection.folder, "all" if whole else "some")
    below = (
        []
        if not whole
        else [
            poll
            for (place, folder, _), poll in polls.running.items()
            if place == watched.place and selection.folder in _with_parents(folder)
        ]
    )
    poll = polls.at(key, lambda: Folder(watched, fs, selection.folder, whole=whole))
    for one in below:
        one.hand_over(poll)
    return _found(polls, key)


def _found(polls: Polls, key: tuple[Any, ...]) -> tuple[Poll, Folder]:
    poll = polls.running[key]
    return poll, cast(Folder, poll.source)


def _with_parents(folder: str) -> Iterator[str]:
    """Yield a folder and all folders above it."""
    yield folder
    while folder != posixpath.dirname(folder):
        folder = posixpath.dirname(folder)
        yield folder
