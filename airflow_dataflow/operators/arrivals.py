"""Operators that start runs for what has arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_dataflow.operators._errors import fail_at_once_on_terminal_errors

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

_LONGEST_NAME = 250 - 17
"""Of an object in a partition key, for which Airflow's database has 250 characters."""
_READ_AT_ONCE = 1000
_REMEMBERED = 500
"""Objects back to which a repetition is looked for; it follows within the hundred that a watcher has under way."""


class AnnounceObjectsOperator(BaseOperator):
    """Announce each object that a watcher has seen as a partition of an asset, exactly once.

    Airflow joins events that come close together into one run. This operator takes all events of ``arrivals`` that came
    since its last run, drops those that came twice, and makes one partition of ``objects`` of each; a DAG scheduled
    with ``PartitionedAssetTimetable(assets=objects)`` then runs once for each object. Its partition key is the name
    of the object, ``@`` and the arrival's id; :func:`object_of` reads it.

    Airflow stores the partitions together with the success of the task, so a retry is safe. Runs have to follow one
    another: the DAG needs ``max_active_runs=1``. Needs Airflow 3.3.

    :param arrivals: asset watched by an ``ObjectArrivalTrigger``, by which the DAG is scheduled.
    :param objects: asset whose partitions are the objects.
    """

    def __init__(self, *, arrivals: Asset, objects: Asset, **kwargs: Any) -> None:
        super().__init__(inlets=[arrivals, objects], outlets=[objects], **kwargs)
        self.arrivals = arrivals
        self.objects = objects

    def execute(self, context: Context) -> int:
        """Announce the objects and return their number."""
        from airflow_dataflow.errors import InvalidInputError, UnsupportedError

        outlet = context["outlet_events"][self.objects]
        with fail_at_once_on_terminal_errors():
            if not hasattr(outlet, "add_partitions"):
                raise UnsupportedError("announcing objects needs Airflow 3.3, which has partitions of assets")
            if context["dag"].max_active_runs != 1:
                raise InvalidInputError(
                    f"DAG {context['dag'].dag_id!r} may have {context['dag'].max_active_runs} runs at once, which "
                    "would announce objects twice: set max_active_runs=1"
                )
            events = self._new_events(context["inlet_events"], context["triggering_asset_events"])
        if not events:
            self.log.info("nothing has arrived that was not announced before")
            return 0
        keys = {partition_key(payload["name"], payload["id"]): payload for _, payload in events}
        outlet.extra = {"upto": max(number for number, _ in events), **_places(keys.values())}
        outlet.add_partitions(sorted(keys))
        self.log.info("announced %s objects", f"{len(keys):,}")
        return len(keys)

    def _new_events(self, inlets: Any, triggering: Any) -> list[tuple[int, dict[str, Any]]]:
        """Return the number and payload of each arrival that was not announced before."""
        upto, announced = self._announced(inlets)
        if upto is None:
            # The first run ever: older events were for nobody.
            begin = min((event.timestamp for event in triggering.get(self.arrivals, ())), default=None)
            found = list(inlets[self.arrivals].after(begin.isoformat())) if begin else []
        else:
            found = self._read(inlets, self.arrivals, lambda events: events[-1].id <= upto)
        new = [(event.id, (event.extra or {}).get("payload")) for event in found if event.id > (upto or 0)]
        return [
            (number, payload)
            for number, payload in new
            if isinstance(payload, dict) and "id" in payload and payload["id"] not in announced
        ]

    def _announced(self, inlets: Any) -> tuple[int | None, set[str]]:
        """Return the number of the last event that was taken, and the ids of the objects announced last.

        Both stand in the partitions themselves, which Airflow stores all or none of.
        """

        def enough(events: list[Any]) -> bool:
            # Partitions of one run are in no order, so only those of whole runs count.
            return sum(_upto(event) != _upto(events[-1]) for event in events) >= _REMEMBERED

        events = self._read(inlets, self.objects, enough)
        keys = (event.partition_key for event in events if event.partition_key)
        return max(map(_upto, events), default=None), {key.rpartition("@")[2] for key in keys}

    @staticmethod
    def _read(inlets: Any, asset: Asset, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Return an asset's events, the newest first, so many as are enough."""
        limit = _READ_AT_ONCE
        while True:
            events = list(inlets[asset].ascending(ascending=False).limit(limit))
            if len(events) < limit or enough(events):
                return events
            limit *= 2


def partition_key(name: str, arrival: str) -> str:
    """Return the key of an object's partition: its name, or the end of a very long one, ``@``, the arrival's id."""
    return f"{name[-_LONGEST_NAME:]}@{arrival}"


def object_url(dag_run: Any, triggering_asset_events: Any) -> str:
    """Return the URL of the object that a run was started for, without a connection in it.

    Both parameters are variables of Airflow's context. In a template it is a macro of the DAG:
    ``DAG(user_defined_macros={"object_url": object_url})`` and ``{{ object_url(dag_run, triggering_asset_events) }}``.

    :param dag_run: the run.
    :param triggering_asset_events: the events that started it.
    :raises InvalidInputError: when the run was started by something else.
    """
    from airflow_dataflow.errors import InvalidInputError

    name, _, arrival = (dag_run.partition_key or "").rpartition("@")
    for events in triggering_asset_events.values():
        for event in events:
            extra = event.extra or {}
            if "upto" in extra:
                return str(extra["urls"].get(arrival) or f"{extra['folder']}/{name}")
    raise InvalidInputError(f"run {dag_run.run_id!r} was not started for an object by AnnounceObjectsOperator")


def _places(payloads: Collection[dict[str, Any]]) -> dict[str, Any]:
    """Return the folder that the objects' names are relative to, and the URLs of those that it does not tell."""
    folders: Counter[str] = Counter()
    for payload in payloads:
        folders[payload["url"].removesuffix(f"/{payload['name']}")] += 1
    ((folder, _),) = folders.most_common(1)
    told = {payload["id"]: f"{folder}/{payload['name'][-_LONGEST_NAME:]}" for payload in payloads}
    return {
        "folder": folder,
        "urls": {payload["id"]: payload["url"] for payload in payloads if payload["url"] != told[payload["id"]]},
    }


def _upto(event: Any) -> int:
    return int((event.extra or {}).get("upto", 0))
