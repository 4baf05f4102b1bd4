"""Waiting for files and restores, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_dataflow.errors import is_terminal
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.triggers._folders import INGESTED, Sight, Watched, wait_for_files
from airflow_dataflow.triggers._restores import wait_for_file_restore, wait_for_restore

if TYPE_CHECKING:
    from airflow_dataflow.storage.listing import FoundFile

log = logging.getLogger(__name__)


class ObjectTrigger(BaseTrigger):
    """Wait until complete files lie at a URL; then end the task without starting a worker.

    All waits in one triggerer that look at one folder, or below it, with one connection share each look.

    :param url: folder, file or pattern.
    :param conn_id: Airflow connection that opens it.
    :param min_files: how many complete files have to be there.
    :param settle_seconds: how long a file may not have changed to be complete.
    :param formats: suffixes of files that count, ``ingested`` for those that an ingest reads, or ``any``.
    :param poke_interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        url: str,
        conn_id: str | None = None,
        min_files: int = 1,
        settle_seconds: float = 10.0,
        formats: str | Sequence[str] = INGESTED,
        poke_interval: float = 30.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.conn_id = conn_id
        self.min_files = min_files
        self.settle_seconds = settle_seconds
        self.formats = formats
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on waiting."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "url": self.url,
            "conn_id": self.conn_id,
            "min_files": self.min_files,
            "settle_seconds": self.settle_seconds,
            "formats": self.formats,
            "poke_interval": self.poke_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the files; what may pass, such as a storage that does not answer, only delays."""
        watched = Watched(url=self.url, conn_id=self.conn_id, formats=self.formats)
        while True:
            try:
                files = await wait_for_files(
                    watched, self._enough, settle_seconds=self.settle_seconds, poke_interval=self.poke_interval
                )
            except Exception as error:  # noqa: BLE001 - every error is judged by its kind
                if is_terminal(error):
                    yield TriggerEvent({"error": f"{error} ({type(error).__name__})"})  # type: ignore[no-untyped-call]
                    return
                log.warning("%s cannot be looked at, trying again: %s", watched.plain, error)
                await asyncio.sleep(self.poke_interval)
            else:
                yield TaskSuccessEvent(xcoms={"return_value": summary(watched, files)})
                return

    def _enough(self, sight: Sight) -> list[FoundFile] | None:
        return sight.complete if len(sight.complete) >= self.min_files else None


def summary(watched: Watched, files: Sequence[FoundFile]) -> dict[str, int]:
    """Log and return how many files lie there, and how many bytes they have."""
    size = sum(file.bytes for file in files)
    log.info("%s has %s complete files with %s bytes", watched.plain, f"{len(files):,}", f"{size:,}")
    return {"files": len(files), "bytes": size}


class RestoreTrigger(BaseTrigger):
    """Wait until all files of a version can be read; then end the task without starting a worker, or resume it.

    All waits in one triggerer for one copy of a version share each look.

    :param reference: the version.
    :param tier: name of the tier whose copy it is about; the nearest one when ``None``.
    :param dataflow_conn_id: Airflow connection of the store.
    :param poke_interval: seconds between two looks.
    :param result: what the task returns in the end; what can be read then, when ``None``.
    :param resume: whether a worker goes on with the task.
    """

    def __init__(
        self,
        *,
        reference: str,
        tier: str | None = None,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        poke_interval: float = 300.0,
        result: dict[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reference = reference
        self.tier = tier
        self.dataflow_conn_id = dataflow_conn_id
        self.poke_interval = poke_interval
        self.result = result
        self.resume = resume

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on waiting."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "reference": self.reference,
            "tier": self.tier,
            "dataflow_conn_id": self.dataflow_conn_id,
            "poke_interval": self.poke_interval,
            "result": self.result,
            "resume": self.resume,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the files; what may pass, such as a store that does not answer, only delays."""
        try:
            found = await wait_for_restore(
                self.reference, self.tier, self.dataflow_conn_id, poke_interval=self.poke_interval
            )
        except Exception as error:  # noqa: BLE001 - only what no later look can change ends a wait
            yield TriggerEvent({"error": f"{error} ({type(error).__name__})"})  # type: ignore[no-untyped-call]
            return
        log.info("all %s files of %s on tier %s can be read", f"{found['files']:,}", found["version"], found["tier"])
        result = found if self.result is None else self.result
        if self.resume:
            yield TriggerEvent(result)  # type: ignore[no-untyped-call]
        else:
            yield TaskSuccessEvent(xcoms={"return_value": result})


class FileRestoreTrigger(BaseTrigger):
    """Wait until archived files outside the store can be read; then a worker goes on with the task.

    All waits in one triggerer for the same files share each look.

    :param sources: URLs of files, folders and patterns, each with the connection that opens it.
    :param poke_interval: seconds between two looks.
    """

    def __init__(self, *, sources: Sequence[str], poke_interval: float = 300.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sources = sources
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on waiting."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "sources": list(self.sources),
            "poke_interval": self.poke_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the files; what may pass, such as a store that does not answer, only delays."""
        try:
            await wait_for_file_restore(self.sources, poke_interval=self.poke_interval)
        except Exception as error:  # noqa: BLE001 - only what no later look can change ends a wait
            yield TriggerEvent({"error": f"{error} ({type(error).__name__})"})  # type: ignore[no-untyped-call]
            return
        yield TriggerEvent({"sources": list(self.sources)})  # type: ignore[no-untyped-call]
