"""Files in an archive that are to be transferred: asking for them, and seeing when they can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from airflow_dataflow.errors import ArchivedError
from airflow_dataflow.storage.backends import ArchiveState
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.plan import files_of

_REQUESTS_AT_ONCE = 16

_File = tuple[Directory, str]


class ArchivedFiles:
    """The files of some sources, as far as they cannot be read yet.

    What was readable once is not looked at again.

    :param sources: folders, files and patterns, by what the caller calls them.
    :raises NotFoundError: when a source names no file.
    """

    def __init__(self, sources: Mapping[str, Directory]) -> None:
        self._pending: Sequence[_File] = [file for name, place in sources.items() for file in files_of(name, place)]
        self._looked = False

    def ask(self, *, days: int, speed: str) -> int:
        """Ask for all files that cannot be read, and return how many these are; asking again changes nothing.

        :param days: how long the files are to stay readable.
        :param speed: the store's own name of how fast.
        :raises UnsupportedError: when the server cannot restore.
        """

        def ask(file: _File) -> bool:
            place, path = file
            state = place.archive_state(path)
            if state == "archived":
                place.restore(path, days=days, speed=speed)
            return state != "readable"

        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="restore") as pool:
            waited_for = list(pool.map(ask, self._pending))
        return sum(waited_for)

    def look(self) -> bool:
        """Look, and tell whether all files can be read; every look but the first ends at the first that cannot.

        :raises ArchivedError: when nobody has asked for a file, or its readable copy has expired meanwhile.
        """
        if self._looked:
            while self._pending and _state(self._pending[0]) == "readable":
                self._pending = self._pending[1:]
            return not self._pending
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="restore") as pool:
            states = list(pool.map(_state, self._pending))
        both = zip(self._pending, states, strict=True)
        self._pending = [file for file, state in both if state != "readable"]
        self._looked = True
        return not self._pending


def _state(file: _File) -> ArchiveState:
    place, path = file
    state = place.archive_state(path)
    if state == "archived":
        raise ArchivedError(
            f"{place.url}/{path} is archived and nobody has asked for it, or its readable copy has expired: transfer "
            "it again with more 'restore_days'"
        )
    return state
