"""Text files as valid UTF-8, whatever they were."""

from __future__ import annotations

import codecs
from typing import Protocol

from airflow_dataflow.errors import InvalidInputError

DAMAGE = "\U0010ffff"
"""Stands before the ``\\xNN`` of a byte that is not in the file's encoding; no text holds this character."""

_CHUNK_BYTES = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


def _mark_damage(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return DAMAGE + "".join(f"\\x{byte:02x}" for byte in bad), error.end


codecs.register_error("airflow_dataflow.mark_damage", _mark_damage)


def check_encoding(name: str) -> None:
    """Refuse an encoding that Python does not know.

    :raises InvalidInputError: when it is unknown, or no encoding of text.
    """
    try:
        "".encode(name)
    except LookupError as error:
        raise InvalidInputError(f"unknown encoding {name!r}: use a name such as 'utf-8', 'cp1252' or 'gbk'") from error


def readable(text: str) -> str:
    r"""Return text with its bad bytes as plain ``\xNN``."""
    return text.replace(DAMAGE, "")


class Utf8Stream:
    r"""A binary stream of text, read as valid UTF-8 without a byte order mark.

    A byte order mark in the file wins over ``encoding``. Bad bytes come out as :data:`DAMAGE` and ``\xNN``.

    :param raw: the decompressed bytes.
    :param encoding: Python's name of the encoding.
    """

    closed = False

    def __init__(self, raw: Readable, encoding: str) -> None:
        self.damaged = False
        """Whether a bad byte has been met so far."""
        self._raw = raw
        self._buffer = bytearray()
        self._last = "\n"
        self._tail = b""
        self._ended = False
        head = raw.read(_CHUNK_BYTES)
        for bom, marked in _BOMS:
            if head.startswith(bom):
                encoding = marked
                head = head.removeprefix(codecs.BOM_UTF8)
                break
        self._decoder = codecs.getincrementaldecoder(encoding)("airflow_dataflow.mark_damage")
        self._take(head, final=False)

    def end_with(self, tail: bytes) -> None:
        """Append ``tail`` as a line of its own when the file's text is over."""
        self._tail = tail

    def peek(self, size: int) -> bytes:
        """Return up to ``size`` of the next bytes without taking them; never the tail before the text is over."""
        while len(self._buffer) < size and not self._ended:
            if not self._pull():
                break
        return bytes(memoryview(self._buffer)[:size])

    def read(self, size: int) -> bytes:
        """Return the next bytes: ``size`` of them, fewer only at the end."""
        while len(self._buffer) < size and not self._ended:
            if not self._pull():
                self._ended = True
                if self._tail and self._last != "\n":
                    self._buffer += b"\n"
                self._buffer += self._tail
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    def _pull(self) -> bool:
        data = self._raw.read(_CHUNK_BYTES)
        self._take(data, final=not data)
        return bool(data)

    def _take(self, data: bytes, *, final: bool) -> None:
        text = self._decoder.decode(data, final=final)
        self.damaged = self.damaged or DAMAGE in text
        self._last = text[-1:] or self._last
        self._buffer += text.encode()
