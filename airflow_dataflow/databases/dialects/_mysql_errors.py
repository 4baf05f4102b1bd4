"""What errors of MySQL and MariaDB mean for a task: whether a retry helps, and what to do."""

from __future__ import annotations

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

NO_PRIVILEGE = frozenset({1044, 1142, 1227})
NO_LOCAL_FILES = frozenset({1148, 3948, 4166})

_MEANINGS: tuple[tuple[type[DataflowError], str, frozenset[int]], ...] = (
    (AccessDeniedError, "check login and password of the connection", frozenset({1045, 1698, 1251, 1130})),
    (AccessDeniedError, "grant this user the privilege", NO_PRIVILEGE | {1143, 1290, 1370, 1410}),
    (NotFoundError, "check the database of the connection", frozenset({1049})),
    (NotFoundError, "check the name of the table", frozenset({1146, 1051})),
    (MissingColumnError, "check the name of the column", frozenset({1054, 1166})),
    (UnsupportedError, "this server cannot do that", frozenset({1235, *NO_LOCAL_FILES})),
    (StorageFullError, "the server's disk is full", frozenset({1021, 1114})),
    (BusyError, "the server has no resources left for this connection", frozenset({1040, 1041, 1203, 1226})),
    (BusyError, "another transaction was in the way", frozenset({1050, 1205, 1213, 1412, 1020, 3572})),
    (TransferError, "the server ended the query or the connection", frozenset({1053, 1317, 1927, 1969, 3024, 1158})),
    (TransferError, "the connection broke", frozenset({1159, 1160, 1161, 2006, 2013, 2014, 2055})),
)
_NO_CONNECTION = frozenset({2002, 2003, 2005, 2012, 2026})
_UNKNOWN_HOST = ("name or service not known", "nodename nor servname", "no address associated", "unknown mysql server")
_UNTRUSTED = ("certificate", "ssl is required", "doesn't support ssl", "ssl_error", "hostname mismatch")
_CLIENT = range(2000, 3000)


def explain(error: Exception, what: str, place: str, message: str) -> DataflowError | None:
    """Return our error for one of PyMySQL or asyncmy, ``None`` for any other.

    :param what: table or query.
    :param place: the database, without credentials.
    :param message: the error's text, without the password.
    """
    import pymysql
    from asyncmy import errors

    if not isinstance(error, pymysql.MySQLError | errors.MySQLError | ConnectionError | EOFError | TimeoutError):
        return None
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    lower = message.lower()
    if any(sign in lower for sign in _UNTRUSTED):
        return AccessDeniedError(f"{place}: {message}: the server's TLS is not what the connection asks for")
    if number in _NO_CONNECTION and any(sign in lower for sign in _UNKNOWN_HOST):
        return NotFoundError(f"{place}: {message}: check the host of the connection")
    for kind, hint, numbers in _MEANINGS:
        if number in numbers:
            return kind(f"{what} at {place}: {message}: {hint}")
    if not number or number in _CLIENT:
        return TransferError(f"{what} at {place}: {message}: is the server up, and does the network let us through?")
    return InvalidInputError(f"{what} at {place}: {message}: check the query, the columns and their values")
