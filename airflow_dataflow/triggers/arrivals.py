"""Objects that arrive, as events of an asset that Airflow watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_dataflow.errors import UnsupportedError
from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.triggers._arrival_stream import ArrivalStream
from airflow_dataflow.triggers._folders import INGESTED, Watched
from airflow_dataflow.triggers._known_objects import AssetStateStore, FolderStateStore, KnownObjects, StateStore

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_dataflow.storage.directory import Directory

_HANDOVER_SECONDS = 5.0
"""After so long an event counts as stored where Airflow, before 3.3, does not say."""


class ObjectArrivalTrigger(BaseEventTrigger):
    """Make one event for each object that arrives; for ``AssetWatcher``.

    An object is known by its path, size and ETag or time of change: one that is written again with other content, or
    is deleted and delivered again, has arrived again. Late objects with old times count. An object becomes known only
    after Airflow has stored its event, so none is lost when the triggerer is killed; an event that was under way then
    may come twice, with the same ``id``, by which
    :class:`~airflow_dataflow.operators.arrivals.AnnounceObjectsOperator` starts one run per object.

    The payload of an event has ``url``, ``name`` (below the watched folder), ``bytes``, ``stamp``, ``modified`` and
    ``id``.

    :param url: folder, file or pattern such as ``s3://aws_default@bucket/landing/*.csv``.
    :param conn_id: Airflow connection that opens it; the one in the URL, or the default of its provider, when absent.
    :param formats: suffixes of files that count, ``ingested`` for those that an ingest reads, or ``any``.
    :param settle_seconds: how long a file may not have changed to have arrived.
    :param poke_interval: seconds between two looks.
    :param skip_existing: whether what lies there at the very first look does not count.
    :param state_conn_id: connection of type ``dataflow`` whose hot tier keeps what is known; needed before Airflow 3.3
        only, which keeps it with the asset.
    """

    _running: ClassVar[WeakValueDictionary[str, ObjectArrivalTrigger]] = WeakValueDictionary()

    def __init__(
        self,
        *,
        url: str,
        conn_id: str | None = None,
        formats: str | Sequence[str] = INGESTED,
        settle_seconds: float = 10.0,
        poke_interval: float = 30.0,
        skip_existing: bool = False,
        state_conn_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.conn_id = conn_id
        self.formats = formats
        self.settle_seconds = settle_seconds
        self.poke_interval = poke_interval
        self.skip_existing = skip_existing
        self.state_conn_id = state_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on watching."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "url": self.url,
            "conn_id": self.conn_id,
            "formats": self.formats,
            "settle_seconds": self.settle_seconds,
            "poke_interval": self.poke_interval,
            "skip_existing": self.skip_existing,
            "state_conn_id": self.state_conn_id,
        }

    def shared_stream_key(self) -> Hashable:
        """Return a key of this trigger alone: shared streams are the way to learn when an event is stored."""
        key = _key(self.serialize()[1])
        self._running[key] = self
        return key

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return what yields the arrivals, and is told when their events are stored."""
        from airflow_dataflow.triggers._arrival_producer import ArrivalProducer

        return ArrivalProducer(cls._running[_key(kwargs)].stream)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[dict[str, Any]]) -> AsyncIterator[TriggerEvent]:
        """Make an event of each arrival."""
        async for payload in shared_stream:
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Make an event of each arrival, in an Airflow that does not say when it has stored one."""
        stream = await self.stream()
        sent = []
        async for arrival in stream.arrivals():
            yield TriggerEvent(arrival.payload)  # type: ignore[no-untyped-call]
            sent.append(arrival.mark)
            if stream.is_last(sent):
                await asyncio.sleep(_HANDOVER_SECONDS)
                await stream.stored(sent)
                sent = []

    async def stream(self) -> ArrivalStream:
        """Return the stream of arrivals, with the state that a former triggerer has left."""
        import xxhash

        watched = Watched(url=self.url, conn_id=self.conn_id, formats=self.formats)
        name = f"object_arrivals.{xxhash.xxh3_64_hexdigest(watched.plain.encode())}"
        return ArrivalStream(
            watched,
            KnownObjects(await self._state(name), name),
            settle_seconds=self.settle_seconds,
            poke_interval=self.poke_interval,
            skip_existing=self.skip_existing,
        )

    async def _state(self, name: str) -> StateStore:
        accessors = getattr(self, "asset_state_store", None)
        if not self.state_conn_id and accessors is not None:
            return AssetStateStore(accessors)
        try:
            folder = await asyncio.to_thread(self._folder, name)
        except Exception:
            await asyncio.sleep(self.poke_interval)  # Airflow starts a watcher that failed again at once
            raise
        return FolderStateStore(asyncio.to_thread, folder)

    def _folder(self, name: str) -> Directory:
        if not self.state_conn_id:
            raise UnsupportedError(
                "this Airflow keeps no state for watchers (3.3 does): let 'state_conn_id' of ObjectArrivalTrigger name "
                "a connection of type 'dataflow', in whose hot tier it can be kept"
            )
        return DataflowHook(self.state_conn_id).store.hot.directory.child(f"_watchers/{name}")


def _key(kwargs: dict[str, Any]) -> str:
    return f"object arrivals {json.dumps(kwargs, sort_keys=True)}"
