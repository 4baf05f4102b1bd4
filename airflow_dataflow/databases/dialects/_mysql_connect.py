"""Connections to MySQL and MariaDB: options of the URL, TLS, and a client that hands over raw bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa

from airflow_dataflow.errors import InvalidInputError, did_you_mean

_SETTINGS = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', "
    "net_write_timeout = 3600, net_read_timeout = 3600"
)
_CONNECT_SECONDS = 30
_CANNOT_CONNECT = 2003
_SIP_BYTES = 64 << 10
_SSL = ("ssl", "ssl_mode", "ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_check_hostname")
_OPTIONS = (*_SSL, "unix_socket", "charset", "connect_timeout")
_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

Result = TypeVar("Result")


def arguments_of(url: sa.URL, lock_seconds: int) -> dict[str, Any]:
    """Return what PyMySQL and asyncmy take to connect, the password included.

    :param lock_seconds: how long to wait for a lock that others hold.
    :raises InvalidInputError: for an option that nobody knows.
    """
    options = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    for name in options:
        if name not in _OPTIONS:
            raise InvalidInputError(f"a connection of MySQL has no option {name!r}{did_you_mean(name, _OPTIONS)}")
    found: dict[str, Any] = {
        "host": url.host or "localhost",
        "port": url.port or 3306,
        "user": url.username,
        "password": url.password or "",
        "charset": "utf8mb4",
        "connect_timeout": int(options.get("connect_timeout", _CONNECT_SECONDS)),
        "autocommit": True,
        "init_command": f"{_SETTINGS}, lock_wait_timeout = {lock_seconds}, innodb_lock_wait_timeout = {lock_seconds}",
    }
    if url.database:
        found["database"] = url.database
    if options.get("unix_socket"):
        found["unix_socket"] = options["unix_socket"]
    context = tls_context(options)
    if context is not None:
        found["ssl"] = context
    return found


def tls_context(options: dict[str, str]) -> ssl.SSLContext | None:
    """Return how to encrypt, ``None`` for not at all.

    Whoever asks for TLS gets a verified server, unless ``ssl_mode`` says ``REQUIRED`` or ``VERIFY_CA``.
    """
    mode = options.get("ssl_mode", "").upper()
    if mode and mode not in _MODES:
        raise InvalidInputError(f"ssl_mode is {mode!r}{did_you_mean(mode, _MODES)}")
    given = [name for name in _SSL if options.get(name) and name != "ssl_mode"]
    wanted = mode in _MODES[2:] or (not mode and bool(given))
    if not wanted or options.get("ssl", "").lower() in _NO:
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca"), capath=options.get("ssl_capath"))
        if options.get("ssl_cert"):
            context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    except OSError as error:
        raise InvalidInputError(f"the TLS files of the connection cannot be read: {error}") from error
    if mode == "REQUIRED":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif mode == "VERIFY_CA" or options.get("ssl_check_hostname", "").lower() in _NO:
        context.check_hostname = False
    return context


class Loop:
    """An event loop in a thread of its own, since the caller's may have one that is running.

    It runs only while somebody waits for a result: a loop that never rests would take in, and keep, all that the
    server sends, however slowly the rows are used.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dataflow-mysql")

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine and wait for its result; safe from any thread."""
        return self._thread.submit(self._loop.run_until_complete, work).result()

    def close(self) -> None:
        """End the thread."""
        self._thread.submit(self._loop.close).result()
        self._thread.shutdown()


class RawConnection:
    """A connection whose values stay the bytes that the server sent, which Arrow reads faster and exactly.

    :param arguments: what asyncmy takes.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._loop = Loop()
        try:
            self._connection = self._loop.run(_connect(arguments))
        except BaseException:
            self._loop.close()
            raise

    def rows(self, sql: str) -> list[tuple[bytes | None, ...]]:
        """Return all rows of a statement."""
        return self._loop.run(self._all(sql))

    def fields(self, sql: str) -> list[Any]:
        """Return what the server says of the columns of a query."""
        return self._loop.run(self._fields(sql))

    def open(self, sql: str) -> Any:
        """Return a cursor whose rows come as they are fetched."""
        return self._loop.run(self._open(sql))

    def fetch(self, cursor: Any, rows: int) -> list[tuple[bytes | None, ...]]:
        """Return the next rows, none at the end."""
        return self._loop.run(cursor.fetchmany(rows))

    def close_cursor(self, cursor: Any) -> None:
        """Read away what is left, so that the connection can be used again."""
        self._loop.run(cursor.close())

    def close(self) -> None:
        """Close the connection without waiting for what it may still be sending."""
        self._loop.run(_close(self._connection))
        self._loop.close()

    async def _all(self, sql: str) -> list[tuple[bytes | None, ...]]:
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql)
            return list(await cursor.fetchall())

    async def _fields(self, sql: str) -> list[Any]:
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql)
            # The interface of Python's databases tells neither the sign of a number nor bytes from text.
            return list(cursor._result.fields)  # noqa: SLF001

    async def _open(self, sql: str) -> Any:
        from asyncmy.cursors import SSCursor

        cursor = self._connection.cursor(SSCursor)
        await cursor.execute(sql)
        return cursor


class _SippingSocket(socket.socket):
    """A socket that hands over a little at a time.

    asyncmy keeps whatever the event loop reads while it works off the rows that it has, and asks for ever more; a
    large result would end up in memory as a whole.
    """

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return super().recv_into(buffer, min(nbytes or len(buffer), _SIP_BYTES), flags)


def _opened_socket(arguments: dict[str, Any]) -> socket.socket:
    from asyncmy.errors import OperationalError

    try:
        if "unix_socket" in arguments:
            local = _SippingSocket(socket.AF_UNIX, socket.SOCK_STREAM)
            local.connect(arguments["unix_socket"])
            return local
        address = (arguments["host"], arguments["port"])
        plain = socket.create_connection(address, timeout=arguments["connect_timeout"])
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return _SippingSocket(fileno=plain.detach())
    except OSError as error:
        raise OperationalError(_CANNOT_CONNECT, f"Can't connect to MySQL server: {error}") from error


async def _connect(arguments: dict[str, Any]) -> Any:
    import asyncmy

    opened = _opened_socket(arguments)
    opened.setblocking(False)  # noqa: FBT003 - Python's own signature
    options = {name: value for name, value in arguments.items() if name != "unix_socket"}
    try:
        return await asyncmy.connect(**options, sock=opened, conv={}, use_unicode=False)
    except BaseException:
        opened.close()
        raise


async def _close(connection: Any) -> None:
    connection.close()
