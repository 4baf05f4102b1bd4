"""Waiting for files, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_dataflow.errors import NotFoundError, is_terminal
from airflow_dataflow.hooks.storage import split_conn_id, storage_options

if TYPE_CHECKING:
    from airflow_dataflow.ingest.landing import LandingFile

log = logging.getLogger(__name__)


class LandingWatch:
    """Looks at the files of a landing folder again and again.

    :param url: folder, file or pattern, as ``IngestDatasetOperator`` reads it.
    :param conn_id: Airflow connection that opens it.
    """

    def __init__(self, url: str, conn_id: str | None = None) -> None:
        self.url, self.conn_id = split_conn_id(url, conn_id)

    @cached_property
    def _options(self) -> dict[str, Any]:
        # Asked for once: fsspec keeps a file system for every set of options that it has ever seen.
        return storage_options(self.url, self.conn_id)

    def files(self) -> list[LandingFile]:
        """Return the files that an ingest would read now; none when the folder does not exist yet."""
        from airflow_dataflow.ingest.landing import Landing
        from airflow_dataflow.ingest.readers import build_readers

        try:
            return Landing(self.url, set(build_readers({})), self._options).files
        except NotFoundError:
            return []

    def summary(self, files: list[LandingFile]) -> dict[str, int]:
        """Log and return how many files lie there, and how many bytes they have."""
        size = sum(file.bytes for file in files)
        log.info("%s has %s files with %s bytes, and they are complete", self.url, f"{len(files):,}", f"{size:,}")
        return {"files": len(files), "bytes": size}


class ObjectTrigger(BaseTrigger):
    """Wait until files lie at a URL and have stopped to grow; then end the task without starting a worker.

    :param url: folder, file or pattern.
    :param conn_id: Airflow connection that opens it.
    :param min_files: how many files have to be there.
    :param settle_seconds: how long no file may have changed, appeared or vanished.
    :param poke_interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        url: str,
        conn_id: str | None = None,
        min_files: int = 1,
        settle_seconds: float = 10.0,
        poke_interval: float = 30.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.conn_id = conn_id
        self.min_files = min_files
        self.settle_seconds = settle_seconds
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on waiting."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "url": self.url,
            "conn_id": self.conn_id,
            "min_files": self.min_files,
            "settle_seconds": self.settle_seconds,
            "poke_interval": self.poke_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the files are there; what may pass, such as a storage that does not answer, only delays."""
        watch = LandingWatch(self.url, self.conn_id)
        while True:
            try:
                files = await asyncio.to_thread(watch.files)
                if len(files) >= self.min_files:
                    await asyncio.sleep(self.settle_seconds)
                    if await asyncio.to_thread(watch.files) == files:
                        yield TaskSuccessEvent(xcoms={"return_value": watch.summary(files)})
                        return
            except Exception as error:  # noqa: BLE001 - every error is judged by its kind
                if is_terminal(error):
                    yield TriggerEvent({"error": f"{error} ({type(error).__name__})"})  # type: ignore[no-untyped-call]
                    return
                log.warning("%s cannot be looked at, trying again: %s", watch.url, error)
            await asyncio.sleep(self.poke_interval)
