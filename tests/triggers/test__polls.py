"""Looks that are shared."""

from __future__ import annotations

import asyncio
import gc

import pytest

from airflow_dataflow.triggers._polls import Polls, Wait


class Counter:
    """A source that counts how often it was looked at."""

    def __init__(self):
        self.looks = 0

    def __str__(self):
        return "the counter"

    def look(self):
        self.looks += 1
        return True


def at_least(number):
    """Return a wait for so many looks."""
    return Wait(judge=lambda source: source.looks if source.looks >= number else None, poke_interval=0.02)


async def in_one_poll(source, waits):
    """Return the answers of waits that share a poll."""
    polls = Polls.here()
    poll = polls.at(("here", "counter", "all"), lambda: source)
    return await asyncio.gather(*(polls.answer(wait, poll) for wait in waits))


def test_each_look_is_judged_for_all_waits():
    source = Counter()
    answers = asyncio.run(in_one_poll(source, [at_least(number % 5 + 1) for number in range(500)]))
    assert answers == [number % 5 + 1 for number in range(500)]
    assert source.looks == 5


def test_one_who_comes_later_gets_what_the_last_look_saw():
    async def scenario():
        polls, source = Polls.here(), Counter()
        poll = polls.at(("here", "counter", "all"), lambda: source)
        patient = asyncio.create_task(polls.answer(Wait(judge=lambda _: None, poke_interval=600), poll))
        assert await polls.answer(Wait(judge=lambda seen: seen.looks or None, poke_interval=600), poll) == 1
        assert await polls.answer(Wait(judge=lambda seen: seen.looks or None, poke_interval=600), poll) == 1
        patient.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_what_only_has_to_settle_is_looked_at_before_the_next_poll():
    async def scenario():
        source, loop = Counter(), asyncio.get_running_loop()

        def judge(seen):
            wait.again_seconds = 0.1
            return loop.time() if seen.looks == 2 else None

        wait = Wait(judge=judge, poke_interval=2)
        begun = loop.time()
        (answer,) = await in_one_poll(source, [wait])
        return answer - begun

    assert 0.8 < asyncio.run(scenario()) < 1.7


def test_the_last_one_ends_the_poll_and_nothing_stays():
    async def scenario():
        await in_one_poll(Counter(), [at_least(1)])
        polls = Polls.here()
        assert (polls.running, polls.kept) == ({}, {})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_one_poll(Counter(), [at_least(10**9)]), 0.1)
        await asyncio.sleep(0)
        assert polls.running == {}
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    gc.collect()
    assert not Polls._of_loops


def test_an_error_that_stays_ends_all_waits():
    class Refusing(Counter):
        def look(self):
            raise PermissionError("not for you")

    async def scenario():
        polls = Polls.here()
        poll = polls.at(("here", "refusing", "all"), Refusing)
        return await asyncio.gather(*(polls.answer(at_least(1), poll) for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(scenario())] == [PermissionError] * 3
