"""One look for all who wait for the same thing: thousands of waits in one triggerer cost one query per poll.

A look is taken in one of a few threads, so that none blocks the triggerer, and what it saw is judged for every wait.
Every event loop has polls of its own; a poll lives as long as somebody waits in it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

from airflow_dataflow.errors import is_terminal

log = logging.getLogger(__name__)

Key = tuple[Any, Any, str]
"""Name of a poll: where, what, and how."""

_THREADS = 16
_JITTER_FRACTION = 0.1
_LEAST_PAUSE_SECONDS = 0.01


class Source(Protocol):
    """What a poll looks at."""

    def look(self) -> bool:
        """Look, in a thread, and tell whether anything differs from the last look."""

    def __str__(self) -> str:
        """Return what is looked at, for messages."""


@dataclass(eq=False, kw_only=True)
class Wait:
    """One who waits."""

    judge: Callable[[Any], Any]
    """Returns the answer that ends the wait, given what the source has seen; ``None`` to go on waiting."""
    poke_interval: float
    """Most seconds between two looks."""
    again_seconds: float | None = None
    """Set by ``judge``: how soon a look could bring the answer, although nothing changes; ``None`` if not at all."""
    answer: asyncio.Future[Any] = field(init=False)
    poll: Poll = field(init=False)
    judged: bool = False
    trouble: str | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def tell(self, trouble: str) -> None:
        """Log what keeps the poll from looking, in the log of the task that waits, once."""
        if trouble != self.trouble:
            self.trouble = trouble
            self.context.run(log.warning, "%s", trouble)


class Poll:
    """Looks at one source again and again, for all waits.

    :param polls: the polls of this event loop.
    :param key: name of this poll among them.
    :param source: what to look at.
    """

    def __init__(self, polls: Polls, key: Key, source: Source) -> None:
        self.polls = polls
        self.key = key
        self.source = source
        self.waits: dict[Wait, None] = {}
        self._last_look = -math.inf
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, wait: Wait) -> None:
        """Let ``wait`` take part; what the last look saw is judged for it at once."""
        wait.poll = self
        wait.judged = False
        self.waits[wait] = None
        self._joined.set()
        if self._task is None:
            # An empty context: the poll outlives the wait that begins it, and is no part of that task's log.
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), context=contextvars.Context())

    def remove(self, wait: Wait) -> None:
        """Let ``wait`` go; the last one ends the poll."""
        self.waits.pop(wait, None)
        if not self.waits:
            self._end()

    async def _run(self) -> None:
        while self.waits:
            self._joined.clear()
            try:
                await self._look_or_judge()
            except Exception as error:  # noqa: BLE001 - every error is judged by its kind
                self._failed(error)
            await self._pause()

    def hand_over(self, other: Poll) -> None:
        """Let another poll, which sees all that this one sees, have the waits; this one ends."""
        for wait in tuple(self.waits):
            del self.waits[wait]
            other.add(wait)
        self._end()

    def _end(self) -> None:
        self.polls.forget(self)
        if self._task is not None:
            self._task.cancel()

    async def _look_or_judge(self) -> None:
        changed, looked = False, time.monotonic() >= self._next_look()
        if looked:
            self._last_look = time.monotonic()
            changed = await self.polls.in_thread(self.source.look)
        waits = [
            wait for wait in self.waits if changed or not wait.judged or (looked and wait.again_seconds is not None)
        ]
        for wait, answer in await self.polls.in_thread(self._judge, waits) if waits else ():
            if not wait.answer.done():
                wait.answer.set_result(answer)

    def _judge(self, waits: list[Wait]) -> list[tuple[Wait, Any]]:
        answers = []
        for wait in waits:
            wait.again_seconds = None
            answer = wait.judge(self.source)
            wait.judged = True
            if answer is not None:
                answers.append((wait, answer))
        return answers

    def _next_look(self) -> float:
        """Return when to look next: earlier when something only has to settle, so that nobody waits for two polls."""
        interval = min(wait.poke_interval for wait in self.waits)
        soon = [wait.again_seconds for wait in self.waits if wait.again_seconds is not None]
        return self._last_look + (min(interval, max(min(soon), interval / 2)) if soon else interval)

    async def _pause(self) -> None:
        if not self.waits:
            return
        left = self._next_look() - time.monotonic()
        left *= 1 - random.random() * _JITTER_FRACTION
        try:
            async with asyncio.timeout(max(_LEAST_PAUSE_SECONDS, left)):
                await self._joined.wait()
        except TimeoutError:
            # Jitter ends the pause early; the look is due all the same.
            self._last_look = -math.inf

    def _failed(self, error: Exception) -> None:
        if not is_terminal(error):
            for wait in self.waits:
                wait.tell(f"{self.source} cannot be looked at, trying again: {error}")
            return
        for wait in self.waits:
            if not wait.answer.done():
                wait.answer.set_exception(error)


class Polls:
    """The polls of one event loop."""

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Polls]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.running: dict[Key, Poll] = {}
        self.kept: dict[Any, Any] = {}
        """What sources share as long as any poll runs, such as file systems."""
        self._executor: ThreadPoolExecutor | None = None

    @classmethod
    def here(cls) -> Polls:
        """Return the polls of the event loop that runs."""
        return cls._of_loops.setdefault(asyncio.get_running_loop(), cls())

    def at(self, key: Key, make: Callable[[], Source]) -> Poll:
        """Return the poll named ``key``, a new one when nobody waits there."""
        if key not in self.running:
            self.running[key] = Poll(self, key, make())
        return self.running[key]

    async def answer(self, wait: Wait, poll: Poll) -> Any:
        """Wait in a poll.

        :returns: what ``wait.judge`` returned.
        :raises Exception: what a look raised that no later one can change.
        """
        wait.answer = asyncio.get_running_loop().create_future()
        poll.add(wait)
        try:
            return await wait.answer
        finally:
            # Another poll may have taken the wait over.
            wait.poll.remove(wait)

    def forget(self, poll: Poll) -> None:
        """Take an ended poll off the list, and with the last one all that was kept for them."""
        if self.running.get(poll.key) is poll:
            del self.running[poll.key]
        if not self.running:
            self.kept.clear()
            if self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in one of a few threads."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="dataflow-poll")
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
