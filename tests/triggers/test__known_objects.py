"""What a watcher remembers."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.listing import FoundFile
from airflow_dataflow.triggers._known_objects import FolderStateStore, KnownObjects, id_of, mark_of

MARKS = st.sets(st.integers(min_value=0, max_value=2**64 - 1), max_size=30)


class Texts:
    """Texts in memory, whose writes may fail."""

    def __init__(self):
        self.texts = {}
        self.writes = []
        self.failures = 0

    async def read(self, name):
        return self.texts.get(name)

    async def write(self, name, text):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no answer")
        self.writes.append(name)
        self.texts[name] = text


async def loaded(store):
    """Return what a new triggerer knows."""
    known = KnownObjects(store, "watcher")
    await known.load()
    return known


@given(st.lists(st.tuples(MARKS, MARKS), max_size=6))
def test_a_new_triggerer_knows_what_the_last_one_knew(changes):
    async def scenario():
        store, expected = Texts(), set()
        known = await loaded(store)
        assert known.is_new
        for added, gone in changes:
            await known.change(added=added, gone=gone)
            expected = (expected - gone) | added
            again = await loaded(store)
            assert (set(again), again.is_new) == (expected, False)

    asyncio.run(scenario())


def test_a_hundred_thousand_objects_lie_in_texts_that_airflow_keeps_without_a_warning():
    async def scenario():
        store = Texts()
        known = await loaded(store)
        await known.change(added=range(100_000))
        store.writes.clear()
        await known.change(added=[100_000], gone=[50_000])
        return store, set(await loaded(store))

    store, marks = asyncio.run(scenario())
    assert marks == set(range(100_001)) - {50_000}
    assert max(map(len, store.texts.values())) < 60_000
    assert len(store.writes) <= 2


def test_a_write_that_fails_is_made_up_for_by_the_next_one():
    async def scenario():
        store = Texts()
        known = await loaded(store)
        store.failures = 1
        with pytest.raises(ConnectionError):
            await known.change(added=[1, 2])
        await known.change(added=[1, 2], gone=[7])
        return set(await loaded(store))

    assert asyncio.run(scenario()) == {1, 2}


def test_what_was_under_way_is_known_to_be_uncertain(tmp_path):
    async def scenario():
        store = FolderStateStore(asyncio.to_thread, Directory.from_url(str(tmp_path / "state")))
        await (await loaded(store)).intend([3, 2**64 - 1])
        return await loaded(store)

    assert asyncio.run(scenario()).maybe_announced == {3, 2**64 - 1}


def test_an_object_is_known_by_path_size_and_stamp_and_an_arrival_by_its_time_too():
    file = FoundFile("a", 1, "ETag:1", 10.0)
    moved = FoundFile("b", 1, "ETag:1", 10.0)
    rewritten = FoundFile("a", 1, "ETag:2", 10.0)
    again = FoundFile("a", 1, "ETag:1", 11.0)
    assert len({mark_of(one) for one in (file, moved, rewritten)}) == 3
    assert mark_of(again) == mark_of(file)
    assert len({id_of(one) for one in (file, moved, rewritten, again)}) == 4
    assert mark_of(FoundFile("\udcff", 1, None, None)) > 0
