"""Processes that are killed by SIGKILL at a chosen step of their work, or at a moment.

A step is anything that can leave a trace: a file that is opened, written, renamed, linked or removed, a folder that is
made or listed, a lock, a statement or a commit of the catalog, a request to S3. Killing a process before each of its
steps in turn shows every state that a crash can leave.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
# What the processes import would otherwise be most of their work.
_CONTEXT.set_forkserver_preload(["tests.killing", "tests.storage.versions", "alembic.command", "s3fs", "obstore"])
_FILE_EVENTS = frozenset(
    {"open", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.truncate"}
)
_TIMEOUT_SECONDS = 120


def killed_at(step: int, act: Callable[..., None], *args: Any) -> bool:
    """Run ``act(*args)`` in a process that dies right before its step number ``step``.

    :returns: whether it came that far; otherwise it has finished its work.
    """
    return _dies(_run, step, act, args)


def _dies(target: Callable[..., None], *args: Any) -> bool:
    process = _CONTEXT.Process(target=target, args=args)
    process.start()
    process.join(_TIMEOUT_SECONDS)
    code = process.exitcode
    if code is None:
        process.kill()
    process.close()
    assert code in (0, -signal.SIGKILL), f"the process ended with {code}"
    return code != 0


def killed_after(seconds: float, act: Callable[..., None], *args: Any) -> bool:
    """Run ``act(*args)`` in a process that dies so many seconds after it has begun.

    :returns: whether it worked for so long; otherwise it has finished its work.
    """
    return _dies(_run_for, seconds, act, args)


def count_steps(act: Callable[..., None], *args: Any) -> int:
    """Return the number of steps of ``act(*args)``, which is done."""
    answers = _CONTEXT.SimpleQueue()
    assert not _dies(_run_and_count, answers, act, args)
    return int(answers.get())


def at_once(*acts: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[Any]:
    """Run functions in one process each, all starting at the same moment, and return their results in order."""
    together = _CONTEXT.Barrier(len(acts))
    answers = _CONTEXT.SimpleQueue()
    processes = [
        _CONTEXT.Process(target=_answer, args=(number, act, args, together, answers))
        for number, (act, args) in enumerate(acts)
    ]
    for process in processes:
        process.start()
    received = dict(answers.get() for _ in processes)
    for process in processes:
        process.join(_TIMEOUT_SECONDS)
    return [received[number] for number in range(len(acts))]


def steps_of(kill: Callable[[int], bool], *, first: int = 1, every: int = 1) -> Iterator[int]:
    """Call ``kill`` with ``first`` and each ``every``-th number after it, until a process finishes its work.

    :returns: the steps at which a process died.
    """
    step = first
    while kill(step):
        yield step
        step += every


def _answer(number: int, act: Callable[..., Any], args: tuple[Any, ...], together: Any, answers: Any) -> None:
    together.wait(_TIMEOUT_SECONDS)
    try:
        answers.put((number, act(*args)))
    except Exception as error:  # noqa: BLE001 - the test judges it
        answers.put((number, f"{type(error).__name__}: {error}"))


def _run_for(seconds: float, act: Callable[..., None], args: tuple[Any, ...]) -> None:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    act(*args)
    timer.cancel()


def _run_and_count(answers: Any, act: Callable[..., None], args: tuple[Any, ...]) -> None:
    counter = _Counter(sys.maxsize)
    _run_watched(counter, act, args)
    answers.put(sys.maxsize - counter.left)


def _run(step: int, act: Callable[..., None], args: tuple[Any, ...]) -> None:
    _run_watched(_Counter(step), act, args)


def _run_watched(counter: _Counter, act: Callable[..., None], args: tuple[Any, ...]) -> None:
    _watch_files(counter, [str(arg) for arg in args if isinstance(arg, str | os.PathLike)])
    _watch_writes(counter)
    _watch_catalog(counter)
    _watch_s3(counter)
    act(*args)


class _Counter:
    def __init__(self, last: int) -> None:
        self.left = last

    def step(self, *_args: Any, **_options: Any) -> None:
        self.left -= 1
        if self.left <= 0:  # threads may pass it together
            os.kill(os.getpid(), signal.SIGKILL)


def _watch_files(counter: _Counter, roots: list[str]) -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "fcntl.flock" or (event in _FILE_EVENTS and str(args[0]).startswith(tuple(roots))):
            counter.step()
        elif event in ("os.remove", "os.rmdir") and args[1] != -1:
            counter.step()  # removing a whole folder names what is in it relative to the folder

    sys.addaudithook(hook)


def _watch_writes(counter: _Counter) -> None:
    from airflow_dataflow.storage.writing import HashingWriter

    original = HashingWriter.write

    def write(self: HashingWriter, data: Any) -> int:
        counter.step()
        return original(self, data)

    HashingWriter.write = write
    _count_calls(os, "pwrite", counter)


def _watch_catalog(counter: _Counter) -> None:
    import sqlalchemy as sa

    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, counter.step)


def _watch_s3(counter: _Counter) -> None:
    import obstore
    from s3fs import core

    original = core._error_wrapper

    async def request(*args: Any, **options: Any) -> Any:
        counter.step()
        return await original(*args, **options)

    core._error_wrapper = request
    for name in ("get", "put"):
        _count_calls(obstore, name, counter)


def _count_calls(module: ModuleType, name: str, counter: _Counter) -> None:
    original = getattr(module, name)

    def call(*args: Any, **options: Any) -> Any:
        counter.step()
        return original(*args, **options)

    setattr(module, name, call)
