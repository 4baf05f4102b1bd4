"""What a database's error means: whether the same statement may succeed soon, and what a person has to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from airflow_dataflow.errors import (
    AccessDeniedError,
    BusyError,
    DataflowError,
    NotFoundError,
    StorageFullError,
    TransferError,
)


@dataclass(frozen=True)
class Fault:
    """A kind of error."""

    explain: Callable[[str, str], DataflowError]
    """Makes the error that users see, of the catalog's URL without secrets and of the database's own words."""
    tries: int = 1
    """How often a transaction is tried before the error counts."""


_CONFLICT = Fault(
    lambda where, said: BusyError(f"catalog {where} is too busy: others changed the same rows all the time ({said})"),
    tries=25,
)
_CROWDED = Fault(
    lambda where, said: BusyError(
        f"catalog {where} takes no more connections ({said}): raise its limit, or let fewer tasks run at once"
    ),
    tries=10,
)
_LOCKED = Fault(
    lambda where, said: BusyError(f"catalog {where} was locked by another process for too long ({said})"),
)
_LOST = Fault(
    lambda where, said: TransferError(
        f"catalog {where} cannot be reached ({said}): check host and port in its URL, and that the database runs"
    ),
    tries=4,
)
_REFUSED = Fault(
    lambda where, said: AccessDeniedError(
        f"catalog {where} lets this user not in ({said}): check user and password of its connection"
    ),
)
_FORBIDDEN = Fault(
    lambda where, said: AccessDeniedError(
        f"catalog {where} cannot be written ({said}): let this user write its folder or its tables"
    ),
)
_NO_DATABASE = Fault(
    lambda where, said: NotFoundError(
        f"catalog {where} names a database that does not exist ({said}): create it, empty, or mend the URL"
    ),
)
_FULL = Fault(
    lambda where, said: StorageFullError(
        f"no space left for catalog {where} ({said}): delete something, or move it to a larger disk"
    ),
)

_BY_CODE: dict[str | int, Fault] = {
    # PostgreSQL, https://www.postgresql.org/docs/15/errcodes-appendix.html
    "40001": _CONFLICT,
    "40P01": _CONFLICT,
    "55P03": _LOCKED,
    "53300": _CROWDED,
    "57P01": _LOST,
    "57P02": _LOST,
    "57P03": _LOST,
    "28000": _REFUSED,
    "28P01": _REFUSED,
    "25006": _FORBIDDEN,
    "42501": _FORBIDDEN,
    "3D000": _NO_DATABASE,
    "53100": _FULL,
    # MariaDB and MySQL, https://mariadb.com/kb/en/mariadb-error-code-reference/
    1205: _CONFLICT,
    1213: _CONFLICT,
    1020: _CONFLICT,
    1040: _CROWDED,
    1203: _CROWDED,
    2002: _LOST,
    2003: _LOST,
    2005: _LOST,
    2006: _LOST,
    2013: _LOST,
    1045: _REFUSED,
    1698: _REFUSED,
    1044: _FORBIDDEN,
    1142: _FORBIDDEN,
    1290: _FORBIDDEN,
    1836: _FORBIDDEN,
    1049: _NO_DATABASE,
    1021: _FULL,
    1114: _FULL,
    # SQLite
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _FORBIDDEN,
    "SQLITE_CANTOPEN": _FORBIDDEN,
}

_BY_WORDS = (
    # Before somebody is logged in, PostgreSQL's client has no codes but the server's words.
    ("password authentication failed", _REFUSED),
    ("no password supplied", _REFUSED),
    ("no pg_hba.conf entry", _REFUSED),
    ('role "', _REFUSED),
    ("too many clients", _CROWDED),
    ("connection slots are reserved", _CROWDED),
    ("does not exist", _NO_DATABASE),
    ("connection failed", _LOST),
    ("connection to server", _LOST),
    ("failed to resolve", _LOST),
    ("could not translate host", _LOST),
    ("connection timeout", _LOST),
)


def fault_of(error: DBAPIError) -> Fault | None:
    """Return what kind of error it is, ``None`` when it is none that anybody could expect."""
    if error.connection_invalidated:
        return _LOST
    code = _code(error)
    if code is not None:
        found = _BY_CODE.get(code)
        if found is None and isinstance(code, str):
            # Classes of codes: SQLITE_READONLY_DBMOVED, and PostgreSQL's 08… for broken connections.
            found = _LOST if code.startswith("08") else _BY_CODE.get("_".join(code.split("_")[:2]))
        return found
    words = str(error.orig)
    return next((fault for text, fault in _BY_WORDS if text in words), None)


def _code(error: DBAPIError) -> str | int | None:
    orig = error.orig
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        if getattr(orig, name, None):
            return str(getattr(orig, name))
    first = getattr(orig, "args", (None,))[:1]
    return first[0] if first and isinstance(first[0], int) else None


def explained(error: DBAPIError, fault: Fault, where: str) -> DataflowError:
    """Return the error that users see.

    :param where: URL of the catalog, without secrets.
    """
    said = " ".join(str(error.orig).split())
    return fault.explain(where, said)
