"""Databases that a task reaches through Airflow's connections of type ``postgres`` and ``mysql``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from airflow_dataflow.errors import InvalidInputError, UnsupportedError, did_you_mean

if TYPE_CHECKING:
    import sqlalchemy as sa
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

_DIALECTS = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_DEFAULT_CONN_IDS = {"postgresql": "postgres_default", "mysql": "mysql_default"}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_SCHEMAS = {"postgresql": "public"}
_POSTGRES_EXTRAS = (
    "application_name",
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "options",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
)
_MYSQL_EXTRAS = ("connect_timeout", "ssl_mode", "unix_socket")
_MYSQL_SSL = ("ca", "capath", "cert", "key", "check_hostname")
_TAKEN = {"postgresql": _POSTGRES_EXTRAS, "mysql": (*_MYSQL_EXTRAS, "ssl")}


def is_database(url: str) -> bool:
    """Tell whether a URL such as ``postgresql://shop@/public.orders`` names a database."""
    return "://" in url and urlsplit(url).scheme in _DIALECTS


def split_table(url: str, conn_id: str | None = None) -> tuple[str, str, str | None]:
    """Take a URL such as ``postgresql://shop@/public.orders`` apart.

    :param url: scheme, Airflow connection, and the table unless there is a query.
    :param conn_id: wins over the connection in the URL; empty means absent.
    :returns: dialect, connection id, and the table or ``None``.
    :raises InvalidInputError: when the URL has more in it.
    """
    parts = urlsplit(url)
    dialect = _DIALECTS[parts.scheme]
    named, _, host = parts.netloc.rpartition("@")
    if host or ":" in named or parts.query or parts.fragment:
        raise InvalidInputError(
            f"a table is named {parts.scheme}://CONNECTION@/schema.table: host, database, user and password belong "
            "into the Airflow connection"
        )
    table = unquote(parts.path.removeprefix("/"))
    return dialect, conn_id or unquote(named) or _DEFAULT_CONN_IDS[dialect], table or None


def database_url(dialect: str, conn_id: str) -> sa.URL:
    """Return the SQLAlchemy URL of an Airflow connection, the password included: never log it.

    Extras are taken by name. TLS files without a mode mean that the server is verified.

    :param dialect: ``postgresql`` or ``mysql``.
    :param conn_id: Airflow connection of type ``postgres`` or ``mysql``.
    :raises InvalidInputError: when the connection is not defined, or is of another type.
    """
    import sqlalchemy as sa
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        kind = "postgres" if dialect == "postgresql" else dialect
        raise InvalidInputError(f"connection {conn_id!r} is not defined; add one of type {kind!r}") from error
    if _DIALECTS.get(connection.conn_type or "") != dialect:
        raise InvalidInputError(f"connection {conn_id!r} has type {connection.conn_type!r}, which is no {dialect}")
    if connection.password:
        mask_secret(connection.password)
    return sa.URL.create(
        dialect,
        username=connection.login or None,
        password=connection.password or None,
        host=connection.host or None,
        port=connection.port or None,
        database=connection.schema or None,
        query=_options(dialect, conn_id, _extras(connection, conn_id)),
    )


def database_uri(url: sa.URL, table: str | None) -> str:
    """Return the URI of a table, or without one of the database, as an asset: without credentials."""
    name = url.get_backend_name()
    parts = [url.database or "", *([] if table is None else _path(name, table))]
    path = "/".join(quote(part, safe="") for part in parts)
    return f"{name}://{url.host or 'localhost'}:{url.port or _PORTS[name]}/{path}"


def _path(dialect: str, table: str) -> list[str]:
    schema, _, name = table.rpartition(".")
    default = _SCHEMAS.get(dialect)
    return [part for part in (schema or default, name) if part]


def _extras(connection: Connection, conn_id: str) -> Mapping[str, Any]:
    try:
        extras = json.loads(connection.extra or "{}")
    except ValueError as error:
        raise InvalidInputError(f"connection {conn_id!r} has extras that are not JSON ({error})") from error
    if not isinstance(extras, Mapping):
        raise InvalidInputError(f"connection {conn_id!r} has extras that are not a JSON object")
    return extras


def _options(dialect: str, conn_id: str, extras: Mapping[str, Any]) -> dict[str, str]:
    if extras.get("iam"):
        raise UnsupportedError(f"connection {conn_id!r} asks for IAM logins, which this cannot do: use a password")
    for name in extras:
        if name in _TAKEN[dialect]:
            continue
        if name.startswith("ssl"):
            raise InvalidInputError(
                f"connection {conn_id!r} has an unknown extra {name!r}{did_you_mean(name, _TAKEN[dialect])}"
            )
        log.warning("connection %r: the extra %r is not used here", conn_id, name)
    if dialect == "mysql":
        return _mysql_options(conn_id, extras)
    found = {name: str(extras[name]) for name in _POSTGRES_EXTRAS if extras.get(name) not in (None, "")}
    if "sslmode" not in found and {"sslrootcert", "sslcert"} & set(found):
        found["sslmode"] = "verify-full"
    return found


def _mysql_options(conn_id: str, extras: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(extras[name]) for name in _MYSQL_EXTRAS if extras.get(name) not in (None, "")}
    ssl = extras.get("ssl")
    if isinstance(ssl, str) and ssl.lstrip().startswith("{"):
        ssl = json.loads(ssl)
    if isinstance(ssl, Mapping):
        for name, value in ssl.items():
            if name not in _MYSQL_SSL:
                raise InvalidInputError(
                    f"connection {conn_id!r} has an unknown name {name!r} in its extra 'ssl'"
                    f"{did_you_mean(str(name), _MYSQL_SSL)}"
                )
            found[f"ssl_{name}"] = str(value)
        return found | {"ssl": "true"}
    return found if ssl is None else found | {"ssl": str(ssl)}
