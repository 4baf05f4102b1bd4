"""Objects that arrive."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_dataflow.errors import UnsupportedError
from airflow_dataflow.triggers import _arrival_stream, arrivals
from airflow_dataflow.triggers.arrivals import ObjectArrivalTrigger

QUICK = {"formats": "any", "settle_seconds": 0.02, "poke_interval": 0.04}


class Accessor:
    """The state of one asset, which outlives triggerers."""

    def __init__(self):
        self.values = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        await asyncio.sleep(0)
        self.values[key] = value


class Triggerer:
    """Runs a watcher as Airflow's triggerer does, and stores its events after some time."""

    def __init__(self, trigger, accessor, events):
        self.trigger = trigger
        trigger.asset_state_store = SimpleNamespace(_by_name={"landing": accessor})
        self.streams = SharedStreamManager()
        self.events = events
        self.unconfirmed = []

    async def run(self):
        """Run until cancelled."""
        key = self.trigger.shared_stream_key()
        stream = self.streams.subscribe(trigger_id=1, trigger=self.trigger, key=key)
        storing = asyncio.create_task(self._store())
        try:
            async for event in self.trigger.filter_shared_stream(stream):
                sequence = self.streams.bind_pending_event(trigger_id=1, key=key)
                self.unconfirmed.append((event.payload, sequence))
        finally:
            storing.cancel()
            await self.streams.unsubscribe(1, key)
            await self.streams.stop_all()

    async def _store(self):
        while True:
            await asyncio.sleep(0.005)
            stored = self.unconfirmed[:30]
            self.events += [payload for payload, _ in stored]
            await asyncio.sleep(0.005)  # a kill here leaves events that are stored and not confirmed
            del self.unconfirmed[: len(stored)]
            self.streams.confirm_persisted([sequence for _, sequence in stored])


@pytest.fixture
def landing(tmp_path):
    """Return an empty folder."""
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


async def watch(landing, accessor, seconds, **options):
    """Return the events of a triggerer that is killed after so many seconds."""
    events = []
    triggerer = Triggerer(ObjectArrivalTrigger(url=str(landing), **(QUICK | options)), accessor, events)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await triggerer.run()
    return events


def names(events):
    """Return the objects of events, with how often they occur."""
    return Counter(event["name"] for event in events)


def test_each_object_comes_once_with_what_is_known_of_it(landing):
    (landing / "deep").mkdir()
    (landing / "deep" / "ä b.bin").write_bytes(b"abc")
    accessor = Accessor()
    (event,) = asyncio.run(watch(landing, accessor, 0.6))
    modified = (landing / "deep" / "ä b.bin").stat().st_mtime
    assert event["url"] == (landing / "deep" / "ä b.bin").as_uri()
    assert (event["name"], event["bytes"], event["stamp"]) == ("deep/ä b.bin", 3, f"mtime:{modified}")
    assert datetime.fromisoformat(event["modified"]).timestamp() == pytest.approx(modified, abs=1e-5)
    assert asyncio.run(watch(landing, accessor, 0.4)) == []


def test_late_rewritten_and_redelivered_objects_arrive_again_and_others_do_not(landing):
    accessor = Accessor()
    for name in ("a", "b", "c"):
        (landing / name).write_text(name)
    assert names(asyncio.run(watch(landing, accessor, 0.6))) == {"a": 1, "b": 1, "c": 1}
    (landing / "a").write_text("other")
    (landing / "b").unlink()
    (landing / "late").write_text("late")
    os.utime(landing / "late", (1, 1))
    assert names(asyncio.run(watch(landing, accessor, 0.6))) == {"a": 1, "late": 1}
    (landing / "b").write_text("b")
    assert names(asyncio.run(watch(landing, accessor, 0.6))) == {"b": 1}


def test_a_disk_that_is_not_mounted_for_a_while_brings_nothing_twice(landing):
    accessor = Accessor()
    (landing / "a").write_text("a")
    assert names(asyncio.run(watch(landing, accessor, 0.6))) == {"a": 1}
    landing.rename(landing.with_name("away"))
    assert asyncio.run(watch(landing, accessor, 0.3)) == []
    landing.with_name("away").rename(landing)
    assert asyncio.run(watch(landing, accessor, 0.3)) == []


def test_what_was_there_before_can_be_left_out(landing):
    accessor = Accessor()
    (landing / "old").write_text("old")

    async def scenario():
        watching = asyncio.create_task(watch(landing, accessor, 1.0, skip_existing=True))
        await asyncio.sleep(0.3)
        (landing / "new").write_text("new")
        return await watching

    assert names(asyncio.run(scenario())) == {"new": 1}


@pytest.mark.parametrize("seed", range(3))
def test_kills_lose_nothing_and_repeat_only_what_was_under_way(landing, monkeypatch, seed):
    monkeypatch.setattr(_arrival_stream, "SENT_AT_ONCE", 20)
    dice, accessor, events, kills = random.Random(seed), Accessor(), [], 12
    for kill in range(kills):
        for number in range(25):
            (landing / f"{kill:02}-{number:02}").write_text("x")
        events += asyncio.run(watch(landing, accessor, 0.1 + dice.random() * 0.15))
    events += asyncio.run(watch(landing, accessor, 2.5))
    assert len(names(events)) == kills * 25
    assert len(events) - kills * 25 <= kills * 20
    by_name = {event["name"]: event["id"] for event in events}
    assert all(by_name[event["name"]] == event["id"] for event in events)
    seen = {}
    for place, event in enumerate(events):
        assert place - seen.get(event["id"], place) <= 2 * 20, "a repetition follows its event closely"
        seen.setdefault(event["id"], place)


def test_an_older_airflow_keeps_the_state_on_the_hot_tier_of_a_store(landing, connected_store, monkeypatch):
    monkeypatch.setattr(arrivals, "_HANDOVER_SECONDS", 0.05)
    (landing / "a").write_text("a")

    async def events():
        trigger, found = ObjectArrivalTrigger(url=str(landing), state_conn_id="dataflow_default", **QUICK), []
        with suppress(TimeoutError):
            async with asyncio.timeout(0.8):
                async for event in trigger.run():
                    found += [event.payload]
        return found

    assert names(asyncio.run(events())) == {"a": 1}
    assert asyncio.run(events()) == []
    assert connected_store.sweep(grace=timedelta(0)) == []
    assert asyncio.run(events()) == []


def test_an_airflow_without_state_says_what_to_give(landing):
    async def first():
        return await anext(ObjectArrivalTrigger(url=str(landing), **QUICK).run())

    with pytest.raises(UnsupportedError, match="state_conn_id"):
        asyncio.run(first())


def test_another_triggerer_can_go_on_watching():
    trigger = ObjectArrivalTrigger(
        url="s3://bucket/x", conn_id="aws", formats=["orc"], settle_seconds=1.0, poke_interval=5.0, skip_existing=True
    )
    path, arguments = trigger.serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)
