"""What PostgreSQL's errors mean for a task: whether a retry helps, and what to do."""

from __future__ import annotations

import re

from airflow_dataflow.errors import (
    AccessDeniedError,
    BusyError,
    DataflowError,
    InvalidInputError,
    MissingColumnError,
    NotFoundError,
    StorageFullError,
    TransferError,
    UnsupportedError,
)

_BY_STATE: dict[str, tuple[type[DataflowError], str]] = {
    "28": (AccessDeniedError, "check login and password of the connection"),
    "3D000": (NotFoundError, "check the database of the connection"),
    "3F000": (NotFoundError, "check the schema"),
    "42501": (AccessDeniedError, "grant this user the privilege"),
    "25006": (AccessDeniedError, "this server or session only reads"),
    "42P01": (NotFoundError, "check the name of the table"),
    "42703": (MissingColumnError, "check the name of the column"),
    "42P10": (
        InvalidInputError,
        "a key needs a unique constraint, and a generated column takes no values",
    ),
    "42": (InvalidInputError, "check the query and the columns"),
    "21": (InvalidInputError, "a key has to occur once"),
    "22": (InvalidInputError, "a value does not fit its column"),
    "23": (InvalidInputError, "a row breaks a constraint of the table"),
    "0A": (UnsupportedError, "this server cannot do that"),
    "53100": (StorageFullError, "the server's disk is full"),
    "53": (BusyError, "the server has no resources left for this connection"),
    "40": (BusyError, "another transaction was in the way"),
    "55": (BusyError, "another transaction holds the table, or waits to change it"),
    "57": (TransferError, "the server ended the query or the connection"),
    "08": (TransferError, "the connection broke"),
    "58": (TransferError, "the server failed to read or write a file"),
}
_WITHOUT_STATE: tuple[tuple[str, type[DataflowError], str], ...] = (
    # While rows come, the driver hands over but the server's words.
    ("invalid byte sequence", InvalidInputError, "a text is not in the encoding of the database: mend it"),
    ("no equivalent in encoding", InvalidInputError, "a text has no equal in UTF-8: mend it, or read it as bytea"),
    ("division by zero", InvalidInputError, "check the query or view and the values"),
    ("out of range", InvalidInputError, "check the query or view and the values"),
    ("invalid input syntax", InvalidInputError, "check the query or view and the values"),
    # Before somebody is logged in there is nothing else either.
    ("authentication failed", AccessDeniedError, "check login and password of the connection"),
    ("no password supplied", AccessDeniedError, "give the connection a password"),
    ("no pg_hba.conf entry", AccessDeniedError, "the server does not let this host or user in"),
    ('role "', AccessDeniedError, "check the login of the connection"),
    ("does not exist", NotFoundError, "check the database of the connection"),
    ("certificate", AccessDeniedError, "the server's certificate is not the one that is trusted: check sslrootcert"),
    ("does not support ssl", AccessDeniedError, "the server has no TLS, but sslmode asks for it"),
    ("temporary failure in name resolution", TransferError, "the name of the host cannot be looked up now"),
    ("could not translate host name", NotFoundError, "check the host of the connection"),
    ("failed to resolve host", NotFoundError, "check the host of the connection"),
    ("name or service not known", NotFoundError, "check the host of the connection"),
    ("invalid connection option", InvalidInputError, "check the extras of the connection"),
    ("invalid sslmode", InvalidInputError, "check the extras of the connection"),
)


_QUOTED_STATE = re.compile(r"SQLSTATE: ?([0-9A-Z]{5})")


def explain(error: Exception, what: str, place: str, message: str) -> DataflowError | None:
    """Return our error for one of psycopg or ADBC, ``None`` for any other.

    :param what: table or query.
    :param place: the database, without credentials.
    :param message: the error's text, without the password.
    """
    import adbc_driver_postgresql.dbapi as adbc
    import psycopg

    if not isinstance(error, psycopg.Error | adbc.Error):
        return None
    state = error.sqlstate
    quoted = _QUOTED_STATE.search(message)
    state = state or (quoted and quoted[1])
    if state:
        kind, hint = _BY_STATE.get(state) or _BY_STATE.get(state[:2]) or (TransferError, "the server failed")
        return kind(f"{what} at {place}: {_short(error, message)} (SQLSTATE {state}): {hint}")
    if "lower bound" in message:
        return InvalidInputError(f"{what} at {place}: arrays that do not start at 1 have no equal in Arrow: {message}")
    lower = message.lower()
    for sign, kind, hint in _WITHOUT_STATE:
        if sign in lower:
            return kind(f"{place}: {message}: {hint}")
    return TransferError(f"{what} at {place}: {message}: is the server up, and does the network let us through?")


def _short(error: Exception, message: str) -> str:
    """Leave out the statement that ADBC quotes; it repeats the query."""
    import psycopg

    if not isinstance(error, psycopg.Error):
        return message.partition(" Query was:")[0].partition(" LINE 1:")[0]
    primary = error.diag.message_primary or message
    context = " ".join((error.diag.context or "").split())
    return f"{primary} ({context})" if context.startswith("COPY") else primary
