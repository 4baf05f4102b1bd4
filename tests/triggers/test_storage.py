"""Waiting for files in the triggerer."""

from __future__ import annotations

import asyncio

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_dataflow.triggers._folders import Folder
from airflow_dataflow.triggers.storage import ObjectTrigger

QUICK = {"settle_seconds": 0.2, "poke_interval": 0.01}


async def first_event(trigger: ObjectTrigger, seconds: float = 20) -> TriggerEvent:
    """Return the first event of a trigger that runs in this event loop."""
    async with asyncio.timeout(seconds):
        return await anext(trigger.run())


def test_files_that_are_complete_end_the_task_with_their_number_and_size(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.jsonl").write_text("{}\n")
    event = asyncio.run(first_event(ObjectTrigger(url=str(tmp_path), min_files=2, **QUICK)))
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms == {"return_value": {"files": 2, "bytes": 8}}


def test_a_file_that_still_grows_is_waited_for(tmp_path):
    async def scenario():
        waiting = asyncio.create_task(first_event(ObjectTrigger(url=tmp_path.as_uri(), **QUICK)))
        with (tmp_path / "a.csv").open("w") as file:
            for number in range(20):
                file.write(f"{number}\n")
                file.flush()
                await asyncio.sleep(0.05)
                assert not waiting.done()
        return await waiting

    event = asyncio.run(scenario())
    assert event.xcoms == {"return_value": {"files": 1, "bytes": (tmp_path / "a.csv").stat().st_size}}


@pytest.mark.parametrize("name", [".a.csv", "_a.csv", "a.csv.part", "a.csv.tmp", ".hidden/a.csv", "notes.unknown"])
def test_a_file_that_an_ingest_does_not_read_does_not_count(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("id\n1\n")
    with pytest.raises(TimeoutError):
        asyncio.run(first_event(ObjectTrigger(url=str(tmp_path), **QUICK), seconds=0.5))


def test_a_folder_that_does_not_exist_yet_is_waited_for(tmp_path):
    async def scenario():
        waiting = asyncio.create_task(first_event(ObjectTrigger(url=str(tmp_path / "later" / "*.csv"), **QUICK)))
        await asyncio.sleep(0.1)
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a.csv").write_text("id\n1\n")
        return await waiting

    assert isinstance(asyncio.run(scenario()), TaskSuccessEvent)


def test_an_error_that_stays_ends_the_waiting_with_an_explanation():
    event = asyncio.run(first_event(ObjectTrigger(url="gopher://host/folder", **QUICK)))
    assert "no installed Airflow provider opens gopher://" in event.payload["error"]


def test_an_error_that_may_pass_only_delays_and_is_logged_once(tmp_path, monkeypatch, caplog):
    (tmp_path / "a.csv").write_text("id\n1\n")
    look, errors = Folder.look, iter([ConnectionResetError("gone"), ConnectionResetError("gone"), TimeoutError("slow")])

    def flaky(self):
        for error in errors:
            raise error
        return look(self)

    monkeypatch.setattr(Folder, "look", flaky)
    assert isinstance(asyncio.run(first_event(ObjectTrigger(url=str(tmp_path), **QUICK))), TaskSuccessEvent)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.rpartition(": ")[2] for text in warnings] == ["gone", "slow"]


def test_another_triggerer_can_go_on_waiting():
    trigger = ObjectTrigger(
        url="s3://bucket/x", conn_id="aws", min_files=3, settle_seconds=4.0, formats=["orc"], poke_interval=5.0
    )
    path, arguments = trigger.serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)


@pytest.mark.s3
def test_files_on_s3_are_seen_with_the_connection_in_the_url(bucket):
    from airflow_dataflow.hooks.storage import directory

    with directory(f"s3://{bucket}/landing").create("a.csv") as file:
        file.write(b"id\n1\n")
    event = asyncio.run(first_event(ObjectTrigger(url=f"s3://aws_default@{bucket}/landing/*.csv", **QUICK)))
    assert event.xcoms == {"return_value": {"files": 1, "bytes": 5}}
