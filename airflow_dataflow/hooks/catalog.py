"""The database of the catalog, as an Airflow connection of type ``postgres``, ``mysql`` or ``sqlite`` names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from airflow_dataflow.errors import InvalidInputError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from sqlalchemy import URL

_DRIVERS = {"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
_POSTGRES_PARAMETERS = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "connect_timeout",
    "options",
    "target_session_attrs",
    "keepalives_idle",
)
"""Extras that the hook of the postgres provider hands to the database's client as they are, and so do we."""
_MYSQL_TLS = ("ca", "cert", "key", "cipher")
"""Keys of the extra ``ssl`` of the mysql provider."""


def catalog_url(conn_id: str) -> URL:
    """Return the SQLAlchemy URL that an Airflow connection means, password included: never log it.

    :param conn_id: connection of type ``postgres``, ``mysql`` or ``sqlite``; its schema is the name of the database.
    :raises InvalidInputError: when it is not defined, or of another type.
    """
    import sqlalchemy as sa

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise InvalidInputError(
            f"'catalog_conn_id' names connection {conn_id!r}, which is not defined; add one of type 'postgres' or "
            "'mysql' whose schema is the name of the catalog's database"
        ) from error
    driver = _DRIVERS.get(connection.conn_type or "")
    if driver is None:
        raise InvalidInputError(
            f"'catalog_conn_id' names connection {conn_id!r} of type {connection.conn_type!r}; a catalog lies on "
            f"{', '.join(sorted(_DRIVERS))}"
        )
    if driver == "sqlite":
        # As Airflow's own hook has it, the path of the file stands in the host.
        return sa.URL.create(driver, database=connection.host or connection.schema)
    if not connection.schema:
        raise InvalidInputError(f"connection {conn_id!r} names no database in its schema; give the catalog one")
    if connection.password:
        mask_secret(connection.password)
    return sa.URL.create(
        driver,
        username=connection.login or None,
        password=connection.password or None,
        host=connection.host or None,
        port=connection.port or None,
        database=connection.schema,
        query=_query(connection),
    )


def _query(connection: Connection) -> Mapping[str, str]:
    extras: dict[str, Any] = connection.extra_dejson
    if connection.conn_type == "postgres":
        return {name: str(extras[name]) for name in _POSTGRES_PARAMETERS if extras.get(name)}
    tls = extras.get("ssl") or {}
    if not isinstance(tls, Mapping):
        raise InvalidInputError(
            f'connection {connection.conn_id!r} has an extra \'ssl\' that is no object such as {{"ca": "/path/ca.pem"}}'
        )
    query = {f"ssl_{name}": str(tls[name]) for name in _MYSQL_TLS if tls.get(name)}
    return query | ({"unix_socket": str(extras["unix_socket"])} if extras.get("unix_socket") else {})
