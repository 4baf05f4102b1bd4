"""HTTP messages as bytes: requests and answers that are read from a connection and passed on as they came."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

_CHANGING = re.compile(r"(?<=[?&])(uploadId|continuation-token)=[^&]*")


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    """Path and query."""
    head: bytes
    """The request line and headers, with the blank line that ends them."""

    def header(self, name: str) -> str:
        """Return a header, ``""`` when it is absent."""
        return header_of(self.head, name)

    @property
    def identity(self) -> str:
        """What is the same in each run of a test: neither the bucket nor the upload's id."""
        key = _CHANGING.sub("", self.target).lstrip("/").partition("/")[2]
        return f"{self.method} {key} {self.header('range')}"


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write all of it."""
    writer.write(data)
    await writer.drain()


async def agree(request: Request, writer: asyncio.StreamWriter) -> None:
    """Let a client go on that asks before it sends its body."""
    if request.header("expect"):
        await send(writer, b"HTTP/1.1 100 Continue\r\n\r\n")


async def read_body(head: bytes, reader: asyncio.StreamReader, *, until_end: bool = False) -> bytes:
    """Return the body that belongs to a head.

    :param until_end: whether a body without a length goes to the end of the connection, as that of an answer does.
    """
    if header_of(head, "transfer-encoding").lower() == "chunked":
        pieces = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(pieces)
    length = header_of(head, "content-length")
    if not length:
        return await reader.read() if until_end else b""
    return await reader.readexactly(int(length))


def header_of(head: bytes, name: str) -> str:
    """Return a header, ``""`` when it is absent."""
    found = re.search(rb"(?im)^%s:[ \t]*(.*?)[ \t]*\r$" % re.escape(name.encode()), head)
    return found[1].decode("latin-1") if found else ""


def framed(head: bytes, length: int) -> bytes:
    """Return a head for a body that follows in one piece, all of which is there already."""
    head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
    changed = re.sub(rb"(?im)^transfer-encoding:.*\r\n", b"", head)
    if changed == head and (length == 0 or header_of(head, "content-length")):
        return head
    return changed[:-2] + b"Content-Length: %d\r\n\r\n" % length
