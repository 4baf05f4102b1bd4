"""Arrivals as a shared stream of Airflow's, from 3.3 on, which tells when the event of each is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_dataflow.errors import TransferError
from airflow_dataflow.triggers._arrival_stream import ArrivalStream


class ArrivalProducer(SharedStreamProducer):
    """Yields the payload of each arrival, and lets the stream remember those whose events are stored.

    :param open_arrivals: opens the stream.
    """

    def __init__(self, open_arrivals: Callable[[], Awaitable[ArrivalStream]]) -> None:
        self._open_arrivals = open_arrivals
        self._stream: ArrivalStream | None = None

    async def open_stream(self) -> AsyncIterator[tuple[dict[str, Any], int]]:
        """Yield the payload of each arrival, and the mark by which it is remembered."""
        self._stream = await self._open_arrivals()
        async for arrival in self._stream.arrivals():
            yield arrival.payload, arrival.mark

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Remember what is stored.

        :raises TransferError: when an event was not stored; the watcher starts again, and it comes again.
        """
        stored = [item.broker_payload for item in batch if item.outcome.is_clean]
        if self._stream is not None and stored:
            await self._stream.stored(stored)
        if len(stored) < len(batch):
            raise TransferError(f"Airflow has not stored {len(batch) - len(stored)} of {len(batch)} events in time")
