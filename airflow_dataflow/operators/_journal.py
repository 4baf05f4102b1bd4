"""Where the next attempt of a task finds what this one has transferred, and what limits a task's transfers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.transfer.journal import Journal
    from airflow_dataflow.transfer.limits import Control, Limits
    from airflow_dataflow.transfer.options import TransferOptions


def task_journal(
    context: Context,
    store: Store | None,
    *,
    sources: Sequence[str],
    target: str,
    options: TransferOptions,
    control: Control | None,
) -> AbstractContextManager[Journal]:
    """Return the journal of a task's transfer: in the catalog where there is one, else in the task's state.

    Airflow before 3.3 keeps no state of tasks; there, and without a store, what the target has whole is found again,
    and the rest is sent anew.

    :param context: Airflow's context of the task.
    :param store: the store whose catalog keeps the journal.
    :param sources: URLs or fixed references of what is transferred.
    :param target: URL of the target; with its connection, by which the sweep opens it.
    :param options: how it is transferred.
    :param control: whose stop ends a wait for another process.
    """
    from airflow_dataflow.transfer.identity import transfer_id, without_password

    if options.dry_run:
        return nullcontext(_no_journal())
    transfer = transfer_id(sources, target, options)
    if store is not None:
        from airflow_dataflow.transfer.catalog_journal import CatalogJournal

        return CatalogJournal(
            store.catalog, transfer, without_password(target), sleep=control.sleep if control else time.sleep
        )
    state = context.get("task_state_store")
    if state is None:
        return nullcontext(_no_journal())
    from airflow_dataflow.transfer.state_journal import StateJournal

    return StateJournal(state, transfer)


def _no_journal() -> Journal:
    from airflow_dataflow.transfer.journal import NoJournal

    return NoJournal()


def task_control(context: Context, options: TransferOptions, limits_variable: str | None) -> Control:
    """Return what steers a task's transfer.

    The options count first, then, for how many parts go at once, the slots that the task takes of its pool. What the
    Airflow Variable says at the moment goes before both.

    :param context: Airflow's context of the task.
    :param options: how it is transferred.
    :param limits_variable: name of the Variable, JSON such as ``{"bytes_per_second": "20MB", "parts_at_once": 4}``.
    """
    from airflow_dataflow.transfer.limits import Control, Limits

    slots = getattr(context["task"], "pool_slots", 1)
    base = Limits(
        bytes_per_second=options.bytes_per_second,
        parts_at_once=options.parts_at_once or (slots if slots > 1 else None),
    )
    return Control(limits_of_variable(limits_variable) if limits_variable else None, base=base)


def limits_of_variable(name: str) -> Callable[[], Limits]:
    """Return a function that reads limits from an Airflow Variable; one that is not there sets none."""

    def read() -> Limits:
        from airflow.sdk import Variable

        from airflow_dataflow.transfer.limits import Limits

        content: Any = Variable.get(name, default=None, deserialize_json=True)
        return Limits.parse(content)

    return read
