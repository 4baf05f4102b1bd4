"""A link that damages one byte of what passes, below any protocol."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_CHUNK_BYTES = 1 << 16


class DamagingLink:
    """Passes connections on, and turns a bit of the first ``mark`` that comes by, once."""

    def __init__(self) -> None:
        self._mark: bytes | None = None
        self._lock = threading.Lock()
        self._ended = False
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.damaged = 0
        """How many bytes it has damaged."""

    def lead(self, listen: tuple[str, int], target: tuple[str, int]) -> None:
        """Pass on what comes to a host and port, to another one."""
        server = socket.create_server(listen)
        self._open.append(server)
        self._start(functools.partial(self._accept, server, target))

    def damage(self, mark: bytes) -> None:
        """Turn a bit of the next ``mark`` that passes as a whole, in whichever direction."""
        with self._lock:
            self._mark = mark

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for connection in self._open:
            _end(connection)
        for thread in self._threads:
            thread.join(10)

    def _accept(self, server: socket.socket, target: tuple[str, int]) -> None:
        with server:
            while not self._ended:
                try:
                    near, _ = server.accept()
                except OSError:
                    return
                self._start(functools.partial(self._serve, near, target))

    def _serve(self, near: socket.socket, target: tuple[str, int]) -> None:
        with near, suppress(OSError), socket.create_connection(target) as far:
            self._open += [near, far]
            back = self._start(functools.partial(self._pass, far, near))
            self._pass(near, far)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while not self._ended and (data := source.recv(_CHUNK_BYTES)):
                target.sendall(self._harmed(data))
        # The other direction goes on: who has sent all waits for answers.
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _harmed(self, data: bytes) -> bytes:
        with self._lock:
            place = -1 if self._mark is None else data.find(self._mark)
            if place < 0:
                return data
            self._mark = None
            self.damaged += 1
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


def _end(connection: socket.socket) -> None:
    """End a connection; a thread that waits for it does not notice that it is closed."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
