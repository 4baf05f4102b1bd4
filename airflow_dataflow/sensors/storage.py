"""Sensors that wait for data to arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import PokeReturnValue

from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors
from airflow_dataflow.sensors._waiting import WaitingSensor
from airflow_dataflow.triggers._folders import INGESTED, Watched, look_twice
from airflow_dataflow.triggers._restores import Restore
from airflow_dataflow.triggers.storage import ObjectTrigger, RestoreTrigger, summary

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class ObjectSensor(WaitingSensor):
    """Wait until files lie at a URL and have stopped to grow.

    Hidden and unfinished files (``.name``, ``_name``, ``name.part``, ``name.tmp``) do not count, nor do files of other
    formats, just as ``IngestDatasetOperator`` does not read them; a file that ``url`` names exactly counts always. The
    waiting is done by Airflow's triggerer from the start to the end, so it takes no worker at all, and thousands that
    wait for files of one folder, or below it, share one listing per poll. A retry is safe: it waits again.

    :param url: folder, file or pattern such as ``s3://aws_default@bucket/landing/*.csv`` (templated).
    :param conn_id: Airflow connection that opens it; the one in the URL, or the default of its provider, when absent
        (templated).
    :param min_files: how many complete files have to be there.
    :param settle_seconds: how long a file may not have changed to be complete.
    :param formats: suffixes of files that count, such as ``[".csv", ".orc"]``, ``"ingested"`` for those that an ingest
        reads, or ``"any"``.
    :param poke_interval: seconds between two looks; a wait ends within two of them after its last file has come, if
        the settle time is no longer than one.
    :param deferrable: whether the triggerer waits; otherwise a worker does.
    """

    template_fields: Sequence[str] = ("url", "conn_id")

    def __init__(
        self,
        *,
        url: str,
        conn_id: str | None = None,
        min_files: int = 1,
        settle_seconds: float = 10.0,
        formats: str | Sequence[str] = INGESTED,
        poke_interval: timedelta | float = 30.0,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, deferrable=deferrable, **kwargs)
        self.url = url
        self.conn_id = conn_id
        self.min_files = min_files
        self.settle_seconds = settle_seconds
        self.formats = formats
        self._start_in_triggerer()

    def _trigger(self) -> ObjectTrigger:
        return ObjectTrigger(
            url=self.url,
            conn_id=self.conn_id,
            min_files=self.min_files,
            settle_seconds=self.settle_seconds,
            formats=self.formats,
            poke_interval=self.poke_interval,
        )

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Look twice, and tell whether the files are there and the same."""
        watched = Watched(url=self.url, conn_id=self.conn_id, formats=self.formats)
        with fail_at_once_on_terminal_errors():
            files = look_twice(watched, self.settle_seconds).complete
        if len(files) < self.min_files:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=summary(watched, files))

    @property
    def _waited_for(self) -> str:
        return (
            f"{self.min_files} complete files at {self.url}: check "
            f"that they were delivered there, not hidden and of formats that count ({self.formats}), or raise "
            "'timeout'"
        )


class RestoreSensor(WaitingSensor):
    """Wait until all files of a version can be read, after ``RestoreDatasetOperator`` has asked for them.

    The waiting is done by Airflow's triggerer from the start to the end, so it takes no worker at all. The task fails
    at once when nobody has asked for a file, or when a readable copy expires before all are there. A retry is safe: it
    waits again.

    :param reference: the version, best a fixed one, such as what ``RestoreDatasetOperator`` returns
        (templated).
    :param tier: name of the tier whose copy it is about; the one that readers get, which is the nearest, when ``None``
        (templated).
    :param dataflow_conn_id: Airflow connection of the store (templated).
    :param poke_interval: seconds between two looks; each costs the store a request or two.
    :param deferrable: whether the triggerer waits; otherwise a worker does.
    """

    template_fields: Sequence[str] = ("reference", "tier", "dataflow_conn_id")

    def __init__(
        self,
        *,
        reference: str,
        tier: str | None = None,
        dataflow_conn_id: str = DataflowHook.default_conn_name,
        poke_interval: timedelta | float = 300.0,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, deferrable=deferrable, **kwargs)
        self.reference = reference
        self.tier = tier
        self.dataflow_conn_id = dataflow_conn_id
        self._start_in_triggerer()

    def _trigger(self) -> RestoreTrigger:
        return RestoreTrigger(
            reference=self.reference,
            tier=self.tier,
            dataflow_conn_id=self.dataflow_conn_id,
            poke_interval=self.poke_interval,
        )

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Look, and tell whether all files can be read."""
        with fail_at_once_on_terminal_errors():
            restore = Restore(self.reference, self.tier, self.dataflow_conn_id)
            restore.look()
        return PokeReturnValue(is_done=restore.summary is not None, xcom_value=restore.summary)

    @property
    def _waited_for(self) -> str:
        return (
            f"the restore of {self.reference}: archives take minutes "
            "to two days, by storage class and speed; raise 'timeout', or ask for a faster 'speed'"
        )
