"""Engines of database servers: one per process and address, so that idle connections stay few and soon close."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_dataflow.datasets.catalog.tables import MYSQL

_IDLE_CONNECTIONS = 16
_OLDEST_SECONDS = 60
"""An older connection is not used again: a firewall may have dropped it without a word."""
_CONNECT_SECONDS = 10

_engines: dict[sa.URL, Engine] = {}
_lock = threading.Lock()


def server_engine(url: sa.URL) -> Engine:
    """Return this process's engine for a database server.

    To connect costs a server several times what a commit costs, so a few connections are kept for the next
    transaction; :func:`release` closes them before long work, and at the end of a task.
    """
    with _lock:
        if url not in _engines:
            _engines[url] = _make(url)
        return _engines[url]


def release(url: sa.URL) -> None:
    """Close the connections that nobody uses at the moment."""
    engine = _engines.get(url)
    if engine is not None:
        _close_idle(engine)


def _make(url: sa.URL) -> Engine:
    options: dict[str, Any] = {}
    if url.get_backend_name() in MYSQL:
        # InnoDB's default, REPEATABLE READ, locks the gaps between rows, in which writers of new rows then meet.
        options["isolation_level"] = "READ COMMITTED"
    elif url.get_driver_name() in ("psycopg", "psycopg2"):
        options["use_native_hstore"] = False  # each connection would look for a type that no table has
    return sa.create_engine(
        _with_timeout(url),
        hide_parameters=True,
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=-1,
        pool_recycle=_OLDEST_SECONDS,
        pool_use_lifo=True,
        **options,
    )


def _with_timeout(url: sa.URL) -> sa.URL:
    if url.get_driver_name() in ("psycopg", "psycopg2", "pymysql", "mysqldb") and "connect_timeout" not in url.query:
        return url.update_query_dict({"connect_timeout": str(_CONNECT_SECONDS)})
    return url


def _forget_in_child() -> None:
    """Leave the connections to the parent: a forked process that spoke on them would garble both."""
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.dispose(close=False)


def _release_all() -> None:
    for engine in _engines.values():
        _close_idle(engine)


def _close_idle(engine: Engine) -> None:
    # The engine's own method would also let go of the pool, and nobody would close what other threads bring back to it.
    engine.pool.dispose()


os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(_release_all)
