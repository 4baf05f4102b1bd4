"""Waiting for a restore: one look at a copy of a version for all who wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.hooks.storage import directory, split_conn_id
from airflow_dataflow.triggers._polls import Polls, Wait

if TYPE_CHECKING:
    from airflow_dataflow.storage.restore import RestoreWatch
    from airflow_dataflow.transfer.restore import ArchivedFiles


class Restore:
    """A copy of a version whose files are to become readable.

    :param reference: the version; what it means at the first look counts.
    :param tier: name of the tier whose copy it is about; the nearest one when ``None``.
    :param dataflow_conn_id: Airflow connection of the store.
    """

    def __init__(self, reference: str, tier: str | None, dataflow_conn_id: str) -> None:
        self.reference = reference
        self.tier = tier
        self.dataflow_conn_id = dataflow_conn_id
        self.summary: dict[str, Any] | None = None
        """What can be read; ``None`` until all can."""
        self._watch: RestoreWatch | None = None

    def __str__(self) -> str:
        return f"the restore of {self.reference}"

    def look(self) -> bool:
        """Look, and tell whether all files can be read."""
        # After an error the connection is asked again: somebody may have corrected it.
        watch, self._watch = self._watch or self._open(), None
        if watch.look():
            self.summary = watch.summary()
        self._watch = watch
        return self.summary is not None

    def _open(self) -> RestoreWatch:
        from airflow_dataflow.storage.restore import RestoreWatch

        watch = RestoreWatch(DataflowHook(self.dataflow_conn_id).store, self.reference, self.tier)
        self.reference = watch.manifest.reference
        return watch


async def wait_for_restore(
    reference: str, tier: str | None, dataflow_conn_id: str, *, poke_interval: float
) -> dict[str, Any]:
    """Wait in the event loop that runs, sharing looks with all others that wait for this copy.

    :param reference: the version.
    :param tier: name of the tier whose copy it is about; the nearest one when ``None``.
    :param dataflow_conn_id: Airflow connection of the store.
    :param poke_interval: most seconds between two looks.
    :returns: the version's fixed reference, the tier, and the number and bytes of its files.
    :raises TerminalError: when looking fails in a way that no later look can change.
    """
    polls = Polls.here()
    key = ((dataflow_conn_id, tier), reference, "restore")
    poll = polls.at(key, lambda: Restore(reference, tier, dataflow_conn_id))
    wait = Wait(judge=lambda restore: restore.summary, poke_interval=poke_interval)
    found: dict[str, Any] = await polls.answer(wait, poll)
    return found


class FileRestore:
    """Files outside the store that are to become readable.

    :param sources: URLs, each with the connection that opens it.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = sources
        self.readable = False
        """Whether all of them can be read."""
        self._files: ArchivedFiles | None = None

    def __str__(self) -> str:
        return f"the restore of {', '.join(split_conn_id(source)[0] for source in self.sources)}"

    def look(self) -> bool:
        """Look, and tell whether all files can be read."""
        # After an error the sources are listed again: somebody may have corrected the connection.
        files, self._files = self._files or self._open(), None
        self.readable = files.look()
        self._files = files
        return self.readable

    def _open(self) -> ArchivedFiles:
        from airflow_dataflow.transfer.restore import ArchivedFiles

        return ArchivedFiles({source: directory(source) for source in self.sources})


async def wait_for_file_restore(sources: Sequence[str], *, poke_interval: float) -> None:
    """Wait in the event loop that runs, sharing looks with all others that wait for these files.

    :param sources: URLs, each with the connection that opens it.
    :param poke_interval: most seconds between two looks.
    :raises TerminalError: when looking fails in a way that no later look can change.
    """
    polls = Polls.here()
    poll = polls.at(("files", tuple(sources), "restore"), lambda: FileRestore(sources))
    await polls.answer(Wait(judge=lambda restore: restore.readable or None, poke_interval=poke_interval), poll)
