"""Waiting for restores in the triggerer."""

from __future__ import annotations

import asyncio

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_dataflow.storage.restore import RestoreWatch, restore_version
from airflow_dataflow.triggers._restores import Restore
from airflow_dataflow.triggers.storage import RestoreTrigger
from tests.services.archive import DATASET, Archive

pytestmark = pytest.mark.s3


async def first_event(trigger: RestoreTrigger) -> TriggerEvent:
    """Return the first event of a trigger that runs in this event loop."""
    async with asyncio.timeout(30):
        return await anext(trigger.run())


def test_the_task_ends_without_a_worker_when_every_file_can_be_read(archive: Archive) -> None:
    restore_version(archive.store, DATASET, days=1, speed="Bulk")
    event = asyncio.run(first_event(RestoreTrigger(reference=DATASET, poke_interval=0.01)))
    assert isinstance(event, TaskSuccessEvent)
    found = {"version": archive.manifest.reference, "tier": "cold", "files": 3, "bytes": 7}
    assert event.xcoms == {"return_value": found}
    assert archive.store.verify(archive.manifest)


def test_what_the_task_returns_can_be_given(archive: Archive) -> None:
    restore_version(archive.store, DATASET, days=1, speed="Bulk")
    trigger = RestoreTrigger(reference=DATASET, tier="cold", poke_interval=0.01, result={"requested": 3})
    assert asyncio.run(first_event(trigger)).xcoms == {"return_value": {"requested": 3}}


def test_what_nobody_has_asked_for_ends_the_waiting_with_an_explanation(archive: Archive) -> None:
    event = asyncio.run(first_event(RestoreTrigger(reference=DATASET, poke_interval=0.01)))
    assert "run RestoreDatasetOperator before" in event.payload["error"]


def test_an_error_that_may_pass_only_delays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    restore_version(archive.store, DATASET, days=1, speed="Bulk")
    look, errors = RestoreWatch.look, iter([ConnectionResetError("gone"), TimeoutError("slow")])

    def flaky(self: RestoreWatch) -> bool:
        for error in errors:
            raise error
        return look(self)

    monkeypatch.setattr(RestoreWatch, "look", flaky)
    assert isinstance(asyncio.run(first_event(RestoreTrigger(reference=DATASET, poke_interval=0.01))), TaskSuccessEvent)
    assert list(errors) == []


def test_many_waits_for_one_copy_share_each_look(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    restore_version(archive.store, DATASET, days=1, speed="Bulk")
    looks = []
    look = Restore.look
    monkeypatch.setattr(Restore, "look", lambda self: looks.append(self.reference) or look(self))

    async def together() -> list[TriggerEvent]:
        return await asyncio.gather(
            *(first_event(RestoreTrigger(reference=DATASET, poke_interval=0.05)) for _ in range(50))
        )

    assert {type(event) for event in asyncio.run(together())} == {TaskSuccessEvent}
    assert 2 <= len(looks) < 25


def test_the_version_that_a_reference_meant_at_first_is_waited_for_to_the_end(archive: Archive) -> None:
    restore_version(archive.store, DATASET, days=1, speed="Bulk")
    restore = Restore(f"{DATASET}@latest", "cold", "dataflow_default")
    assert not restore.look()
    assert restore.reference == archive.manifest.reference


def test_another_triggerer_goes_on_with_all_that_was_asked_for() -> None:
    trigger = RestoreTrigger(reference=DATASET, tier="cold", dataflow_conn_id="x", poke_interval=7, result={"a": 1})
    path, arguments = trigger.serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)
