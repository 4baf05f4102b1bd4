"""A link that does harm: an HTTP proxy in front of a server, which breaks, damages and delays what passes.

It forwards requests byte for byte, so that their signatures stay good, and decides by a seed and the request itself
(method, key, part, range, and how often that was asked before), so that the order of threads changes nothing. It counts
the harm that it did: a test can prove that there was some.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

from tests.services.http_messages import Request, agree, framed, read_body, send
from tests.services.s3 import client_of, options_of, running_s3

Kind = Literal[
    "500", "503", "429", "expired", "full", "bad_digest",
    "reset_before", "reset_in_request", "reset_after", "reset_in_answer",
    "half_answer", "flip_request", "flip_answer", "wrong_etag", "stall", "down", "act",
]  # fmt: skip
_ANSWERS: dict[str, tuple[int, str]] = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "429": (429, "TooManyRequests"),
    "expired": (403, "ExpiredToken"),
    "full": (403, "QuotaExceeded"),
    "bad_digest": (400, "BadDigest"),
}
"""Status and S3's error code of the faults that are an answer."""
_READ_BYTES = 4 << 20
_CHECKSUMS = re.compile(rb"(?im)^(etag: \"?|x-amz-checksum-\w+: )(.)")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Harm, and the requests that it comes to."""

    kind: Kind
    """What happens. ``flip_…`` changes one bit of a body, ``half_answer`` ends a body early as if it were whole,
    ``reset_…`` breaks the connection before anything, in the request's body, when the server has done its work, or in
    the answer's body; ``down`` breaks all connections and refuses new ones; ``act`` calls ``act`` and does no harm."""
    method: str = ""
    """Requests of this method; all when empty."""
    target: str = ""
    """Requests in whose path and query this regular expression is found; all when empty."""
    share: float = 1.0
    """Share of those requests, drawn by the seed."""
    skip: int = 0
    """Number of those that are spared first."""
    times: int | None = None
    """Number of times at most; as often as it comes when ``None``."""
    body: bool = False
    """Only requests or answers with at least two bytes of body; always so for faults that need one."""
    seconds: float = 0.0
    """How long ``stall`` and ``down`` take."""
    act: Callable[[], object] | None = None
    """What ``act`` calls before the request goes on."""


class FaultyProxy:
    """A proxy on a free loopback port.

    :param upstream: URL of the server behind, ``http://host:port``.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        # Bound for good, so that nobody else takes the port while the link is down.
        self._holder = _bound(0)
        self.port = int(self._holder.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self.clear()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy", daemon=True)

    # what tests do ----------------------------------------------------------------------------

    def clear(self, seed: int = 0) -> None:
        """Do no harm from now on, and forget what there was."""
        with self._lock:
            self._seed = seed
            self._faults: list[Fault] = []
            self._left: dict[int, tuple[int, int | None]] = {}
            self._asked: Counter[str] = Counter()
            self.done: Counter[str] = Counter()
            """How often each kind of harm was done."""
            self.requests: list[Request] = []
            """All that was asked."""
            self.bytes_up = 0
            """Bytes of bodies that the server got."""
            self.bytes_down = 0
            """Bytes of bodies that clients got."""

    def inject(self, *faults: Fault) -> None:
        """Do harm from now on; of several faults that fit a request, the first comes to it."""
        with self._lock:
            for fault in faults:
                self._left[len(self._faults)] = (fault.skip, fault.times)
                self._faults.append(fault)

    def count(self, method: str, target: str = "") -> int:
        """Return the number of requests of a method whose path and query fit a regular expression."""
        with self._lock:
            return sum(one.method == method and bool(re.search(target, one.target)) for one in self.requests)

    def start(self) -> None:
        """Take connections."""
        self._thread.start()
        self._call(self._listen()).result(10)

    def stop(self) -> None:
        """Take no connections any more, and end."""
        self._call(self._break_all()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._holder.close()

    def down(self) -> None:
        """Break all connections and refuse new ones until :meth:`up`."""
        self._call(self._break_all()).result(10)

    def up(self) -> None:
        """Take connections again."""
        self._call(self._listen()).result(10)

    # the link ---------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._talk, sock=_bound(self.port), limit=_READ_BYTES)

    async def _break_all(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self._clients):
            _reset(client)
        await asyncio.sleep(0)

    async def _break_for(self, seconds: float) -> None:
        await self._break_all()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, EOFError):
            _reset(writer)
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Forward one request and its answer, and tell whether the connection lives on."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        request = Request(method, target, head)
        fault, draw = self._choose(request)
        kind = fault.kind if fault else ""
        if fault is not None and not await self._before(fault, request, reader, writer):
            return False
        await agree(request, writer)
        body = await read_body(request.head, reader)
        if kind in _ANSWERS:
            await send(writer, _error(kind, request))
            return True
        if kind == "flip_request":
            body = self._flipped(kind, body, draw)
        status, answer_head, answer = await self._ask(request, body)
        if kind == "reset_after":
            return self._harm(kind, writer)
        if kind == "wrong_etag" and status < 300 and _CHECKSUMS.search(answer_head):
            self._count(kind)
            answer_head = _CHECKSUMS.sub(_other_checksum, answer_head)
        if kind == "flip_answer" and status < 300:
            answer = self._flipped(kind, answer, draw)
        if kind in ("reset_in_answer", "half_answer") and status < 300 and len(answer) > 1:
            return await self._cut(kind, writer, answer_head + answer[: len(answer) // 2])
        with self._lock:
            self.bytes_down += len(answer)
        await send(writer, answer_head + answer)
        return b"connection: close" not in answer_head.lower()

    async def _before(
        self, fault: Fault, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do the harm that comes before the server is asked, and tell whether it will be."""
        if fault.kind in ("stall", "act", *_ANSWERS):
            self._count(fault.kind)
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "act" and fault.act is not None:
            await asyncio.to_thread(fault.act)
        elif fault.kind in _ANSWERS and request.header("expect"):
            await send(writer, _error(fault.kind, request))  # without the body, as servers do that have enough to do
            return False
        elif fault.kind == "down":
            self._count(fault.kind)
            task = self._loop.create_task(self._break_for(fault.seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return False
        elif fault.kind == "reset_before":
            return self._harm(fault.kind, writer)
        elif fault.kind == "reset_in_request" and int(request.header("content-length") or 0) > 1:
            await agree(request, writer)
            await reader.readexactly(int(request.header("content-length")) // 2)
            return self._harm(fault.kind, writer)
        return True

    async def _ask(self, request: Request, body: bytes) -> tuple[int, bytes, bytes]:
        """Return the server's status, head and body; one connection each, as they cost nothing on loopback."""
        reader, writer = await asyncio.open_connection(*self._upstream, limit=_READ_BYTES)
        try:
            with self._lock:
                self.bytes_up += len(body)
            await send(writer, framed(request.head, len(body)) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            while head.split(b" ", 2)[1].startswith(b"1"):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            bare = request.method == "HEAD" or status in (204, 304)
            answer = b"" if bare else await read_body(head, reader, until_end=True)
            return status, head if bare else framed(head, len(answer)), answer
        finally:
            writer.close()

    async def _cut(self, kind: str, writer: asyncio.StreamWriter, data: bytes) -> bool:
        await send(writer, data)
        if kind == "half_answer":
            self._count(kind)
            return False
        return self._harm(kind, writer)

    def _harm(self, kind: str, writer: asyncio.StreamWriter) -> bool:
        self._count(kind)
        _reset(writer)
        return False

    def _flipped(self, kind: str, body: bytes, draw: Random) -> bytes:
        if not body:
            return body
        self._count(kind)
        changed = bytearray(body)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed)

    # what happens to which request ------------------------------------------------------------

    def _count(self, kind: str) -> None:
        with self._lock:
            self.done[kind] += 1

    def _choose(self, request: Request) -> tuple[Fault | None, Random]:
        with self._lock:
            self.requests.append(request)
            self._asked[request.identity] += 1
            draw = Random(f"{self._seed} {request.identity} {self._asked[request.identity]}")
            for number, fault in enumerate(self._faults):
                if _fits(fault, request) and draw.random() < fault.share and self._is_due(number):
                    return fault, draw
            return None, draw

    def _is_due(self, number: int) -> bool:
        skip, times = self._left[number]
        if skip:
            self._left[number] = (skip - 1, times)
            return False
        if times is not None:
            self._left[number] = (0, max(0, times - 1))
        return times != 0


def _fits(fault: Fault, request: Request) -> bool:
    if fault.method and fault.method != request.method:
        return False
    if (fault.body or fault.kind.endswith("_request")) and int(request.header("content-length") or 0) < 2:
        return False
    return re.search(fault.target, request.target) is not None


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other end sees a reset."""
    with suppress(OSError):
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _other_checksum(found: re.Match[bytes]) -> bytes:
    return found[1] + (b"1" if found[2] == b"0" else b"0")


def _error(kind: str, request: Request) -> bytes:
    status, code = _ANSWERS[kind]
    text = f"<Error><Code>{code}</Code><Message>a fault of the tests</Message></Error>".encode()
    ends = "close" if request.header("expect") else "keep-alive"
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n"
    return f"{head}Connection: {ends}\r\n\r\n".encode() + (b"" if request.method == "HEAD" else text)


@contextmanager
def running_link(upstream: str) -> Iterator[FaultyProxy]:
    """Put a link in front of a server."""
    proxy = FaultyProxy(upstream)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


SMALLEST_PART_BYTES = 16 << 10
"""Size from which on the server behind the link takes parts; Amazon wants 5 MiB."""


@pytest.fixture(scope="session")
def _server_behind() -> Iterator[str]:
    sizes = {"S3_UPLOAD_PART_MIN_SIZE": str(SMALLEST_PART_BYTES), "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(4 << 20)}
    with running_s3(**sizes) as url:
        yield url


@pytest.fixture(scope="session")
def _s3_link(_server_behind: str) -> Iterator[FaultyProxy]:
    with running_link(_server_behind) as proxy:
        yield proxy


@pytest.fixture
def link(_s3_link: FaultyProxy) -> Iterator[FaultyProxy]:
    """Return the link to an S3 server of its own, which does no harm yet."""
    _s3_link.clear()
    yield _s3_link
    _s3_link.clear()
    _s3_link.up()


@pytest.fixture
def link_bucket(link: FaultyProxy, behind_client: Any) -> str:
    """Return the name of an empty bucket behind the link."""
    name = f"bucket-{uuid.uuid4().hex}"
    behind_client.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def behind_client(_server_behind: str) -> Iterator[Any]:
    """Return a client of the server behind the link."""
    client = client_of(_server_behind)
    yield client
    client.close()


@pytest.fixture
def link_options(link: FaultyProxy) -> dict[str, Any]:
    """Return what fsspec needs to open ``s3://…`` URLs through the link."""
    return options_of(link.url)


@pytest.fixture
def behind_options(_server_behind: str) -> dict[str, Any]:
    """Return what fsspec needs to open the same URLs past the link."""
    return options_of(_server_behind)
