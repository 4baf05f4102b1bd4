"""Waiting for versions: one query of a catalog for all who wait for versions in its store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from airflow_dataflow.hooks.dataflow import DataflowHook
from airflow_dataflow.triggers._polls import Polls, Wait

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_dataflow.datasets.catalog.catalog import Catalog


class WantedVersion:
    """The version that somebody waits for.

    :param dataset: name of a dataset, or a reference such as ``support/raw@latest~1``.
    :param newer_than: only versions after this one count: a version id or fixed reference; all when empty.
    :param since: only versions that belong to this moment or a later one count: ISO 8601 with a time zone; all when
        empty.
    :raises InvalidInputError: when one of them is not what it has to be.
    """

    def __init__(self, dataset: str, newer_than: str | None, since: str | datetime | None) -> None:
        from airflow_dataflow.datasets.name import Reference, check_version_id

        self.reference = Reference.parse(dataset)
        newer = (newer_than or "").rpartition("@")[2]
        self._newer_than = check_version_id(newer) if newer else ""
        self._since = _start_of_ids(since) if since else ""

    def find(self, references: list[str]) -> str | None:
        """Return the fixed reference of the newest version that counts, ``None`` when there is none yet.

        :param references: fixed references, those of one dataset newest first.
        """
        prefix = f"{self.reference.dataset}@"
        ids = [one.removeprefix(prefix) for one in references if one.startswith(prefix)]
        if self.reference.version is not None:
            ids = [self.reference.version] if self.reference.version in ids else []
        wanted = ids[self.reference.back :][:1]
        return next((f"{prefix}{one}" for one in wanted if one > self._newer_than and one >= self._since), None)


def _start_of_ids(moment: str | datetime) -> str:
    """Return what the ids of versions of a moment, cut to its second, begin with."""
    from datetime import UTC, datetime

    from airflow_dataflow.errors import InvalidInputError

    try:
        at = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    except ValueError as error:
        raise InvalidInputError(f"since is {moment!r}; it has to be a moment such as 2026-11-23T02:15:00Z") from error
    if at.tzinfo is None:
        raise InvalidInputError(f"since is {moment!r}; it needs a time zone, e.g. 2026-11-23T02:15:00Z")
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


class Versions:
    """What a store's catalog lists of the datasets that somebody waits for.

    :param dataflow_conn_id: Airflow connection of the store.
    """

    def __init__(self, dataflow_conn_id: str) -> None:
        self.wanted: Counter[str] = Counter()
        """Datasets that somebody waits for, with the number of waits."""
        self.references: list[str] = []
        self._dataflow_conn_id = dataflow_conn_id
        self._catalog: Catalog | None = None

    def __str__(self) -> str:
        return f"the catalog of {self._dataflow_conn_id!r}"

    def look(self) -> bool:
        """Ask the catalog, once for all datasets, and tell whether anything differs from the last time."""
        # After an error the connection is asked again: somebody may have corrected it.
        catalog, self._catalog = self._catalog or DataflowHook(self._dataflow_conn_id).store.catalog, None
        names = tuple(self.wanted)
        references = catalog.references(names[0] if len(names) == 1 else None)
        self._catalog = catalog
        before, self.references = self.references, references
        return before != references


async def wait_for_version(wanted: WantedVersion, dataflow_conn_id: str, *, poke_interval: float) -> str:
    """Wait in the event loop that runs, sharing queries with all others that wait for versions in the store.

    :returns: the version's fixed reference.
    :raises TerminalError: when asking fails in a way that no later query can change.
    """
    polls = Polls.here()
    poll = polls.at(("versions", dataflow_conn_id, "all"), lambda: Versions(dataflow_conn_id))
    versions = poll.source
    assert isinstance(versions, Versions)  # noqa: S101 - the key says so
    dataset = wanted.reference.dataset
    versions.wanted[dataset] += 1
    try:
        wait = Wait(judge=lambda seen: wanted.find(seen.references), poke_interval=poke_interval)
        return str(await polls.answer(wait, poll))
    finally:
        versions.wanted[dataset] -= 1
        versions.wanted += Counter()  # drops what nobody waits for any more
