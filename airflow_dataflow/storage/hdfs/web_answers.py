"""What HTTP servers answer, as errors of one kind and as addresses that name the file that was meant."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from airflow_dataflow.storage.hdfs.faults import fault

if TYPE_CHECKING:
    from requests import Response

_ROOT, _PLAIN = "/webhdfs/v1", "/="
_ERRORS_FROM, _UNAUTHORIZED = 400, 401


def address_of(path: str) -> str:
    """Return the part of a URL that names a file or folder.

    :raises HdfsServerError: for a path that HTTP clients would resolve, and so reach what is no file at all.
    """
    if {".", ".."} & set(path.split("/")):
        raise fault("InvalidPathException", f"Invalid path name {path}", path)
    return f"{_ROOT}{quote(path, _PLAIN)}"


def checked(answer: Response, path: str) -> Response:
    """Return an answer that is none of an error."""
    if answer.status_code < _ERRORS_FROM:
        return answer
    try:
        told = answer.json()["RemoteException"]
    except (ValueError, KeyError, TypeError):
        told = {}
    if answer.status_code == _UNAUTHORIZED and not told:
        raise fault("AuthenticationException", f"{host_of(answer.url)} does not know who we are", path)
    kind = str(told.get("javaClassName") or told.get("exception") or f"HTTP {answer.status_code}")
    raise fault(kind, str(told.get("message") or answer.reason), path)


def location_of(answer: Response, path: str) -> str:
    """Return the URL that an answer refers to, with the letters of ``path`` as they are.

    Java composes letters and their accents in such URLs (NFC), which would name another file.
    """
    url = str(answer.headers["Location"])
    place, mark, query = url.partition("?")
    host = place.partition(_ROOT)[0]
    composed = unicodedata.normalize("NFC", path)
    if composed == path or not unquote(place).endswith(f"{_ROOT}{composed}"):
        return url
    return f"{host}{address_of(path)}{mark}{query}"


def host_of(url: str) -> str:
    """Return the host and port of a URL: its query may hold what nobody has to read in a log."""
    return urlsplit(url).netloc.rpartition("@")[2]


def hostname_of(url: str) -> str:
    """Return the host of a URL as it stands before a port."""
    name = urlsplit(url).hostname or ""
    return f"[{name}]" if ":" in name else name


def text_of(error: BaseException) -> str:
    """Return what lies at the bottom of an HTTP error, without the URL that libraries put into it."""
    reason = getattr(error.args[0] if error.args else None, "reason", None) or error
    text = str(reason)
    return text.rpartition(">: ")[2] if ">: " in text else text.partition("(Caused by")[0] if "?" in text else text
