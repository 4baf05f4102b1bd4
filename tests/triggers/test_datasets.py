"""Waiting for versions in the triggerer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TaskSuccessEvent

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.triggers._versions import WantedVersion
from airflow_dataflow.triggers.datasets import DatasetVersionTrigger

NIGHT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
IDS = [f"202611{day:02}T021500Z-00000{day % 10}" for day in (24, 23, 22)]
REFERENCES = [*(f"support/raw@{one}" for one in IDS), f"support/rawer@{IDS[0]}"]


def commit(store, dataset, at=NIGHT, fingerprint="abcdef"):
    """Make an empty version and return its reference."""
    with store.draft(dataset, at=at, fingerprint=fingerprint) as draft:
        return draft.commit(Rows()).reference


async def first_event(trigger, seconds=20):
    """Return the first event of a trigger that runs in this event loop."""
    async with asyncio.timeout(seconds):
        return await anext(trigger.run())


@pytest.mark.parametrize(
    ("dataset", "newer_than", "since", "found"),
    [
        ("support/raw", None, None, 0),
        ("support/raw@latest~1", None, None, 1),
        ("support/raw@latest~3", None, None, None),
        (f"support/raw@{IDS[2]}", None, None, 2),
        ("support/raw@20261121T021500Z-000001", None, None, None),
        ("support", None, None, None),
        ("support/raw", IDS[1], None, 0),
        ("support/raw", f"support/raw@{IDS[0]}", None, None),
        ("support/raw", "", "2026-11-24T02:15:00+00:00", 0),
        ("support/raw", "", "2026-11-24T03:15:00.5+01:00", 0),
        ("support/raw", "", "2026-11-24T02:15:01Z", None),
        ("support/raw@latest~1", IDS[2], "2026-11-23T00:00:00Z", 1),
        ("support/raw@latest~1", None, "2026-11-24T00:00:00Z", None),
    ],
)
def test_a_version_counts_by_reference_predecessor_and_moment(dataset, newer_than, since, found):
    wanted = WantedVersion(dataset, newer_than, since)
    assert wanted.find(REFERENCES) == (None if found is None else REFERENCES[found])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Support", None, None), "invalid dataset name 'Support'"),
        (("support", "yesterday", None), "invalid version id 'yesterday'"),
        (("support", None, "yesterday"), "since is 'yesterday'; it has to be a moment such as"),
        (("support", None, "2026-11-24T02:15:00"), "it needs a time zone"),
    ],
)
def test_what_names_no_version_is_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        WantedVersion(*arguments)


def test_a_version_that_comes_ends_the_task_with_its_fixed_reference(connected_store):
    commit(connected_store, "support/raw")

    async def scenario():
        trigger = DatasetVersionTrigger(dataset="support/raw", since=NIGHT + timedelta(days=1), poke_interval=0.05)
        waiting = asyncio.create_task(first_event(trigger))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        reference = await asyncio.to_thread(commit, connected_store, "support/raw", NIGHT + timedelta(days=1), "b" * 6)
        return reference, await waiting

    reference, event = asyncio.run(scenario())
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms == {"return_value": reference}


def test_all_waits_in_a_store_share_each_query(connected_store, monkeypatch):
    queries = []
    references = Catalog.references

    def counted(self, dataset=None):
        queries.append(dataset)
        return references(self, dataset)

    monkeypatch.setattr(Catalog, "references", counted)

    async def scenario():
        triggers = [DatasetVersionTrigger(dataset=f"set-{number}", poke_interval=0.3) for number in range(200)]
        waiting = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
        await asyncio.sleep(1.0)
        for number in range(200):
            await asyncio.to_thread(commit, connected_store, f"set-{number}")
        return await asyncio.gather(*waiting)

    events = asyncio.run(scenario())
    assert [event.xcoms["return_value"].partition("@")[0] for event in events] == [f"set-{n}" for n in range(200)]
    assert len(queries) < 60


def test_an_error_that_stays_ends_the_waiting_with_an_explanation():
    event = asyncio.run(first_event(DatasetVersionTrigger(dataset="support", dataflow_conn_id="nowhere")))
    assert "connection 'nowhere' is not defined" in event.payload["error"]


def test_another_triggerer_can_go_on_waiting():
    trigger = DatasetVersionTrigger(
        dataset="a", newer_than=IDS[0], since=NIGHT.isoformat(), dataflow_conn_id="store", poke_interval=5.0
    )
    path, arguments = trigger.serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)
