"""Connections of type ``webhdfs``, as the official HDFS provider defines them, and what HDFS needs beyond that.

Host (several with ``,`` between them), port, login, password, schema (a path before ``/webhdfs/v1``, as gateways have
it) and the extras ``use_ssl``, ``verify``, ``cert``, ``key``, ``cookies`` and ``headers`` mean what they mean to the
provider's ``WebHDFSHook``, but for one: certificates are verified unless ``verify`` is ``false``. More extras:

``rpc``
    Addresses of Hadoop's own protocol for hdfs-native, e.g. ``"nn1:8020,nn2:8020"``. The NameNodes are asked for them
    when it is absent; with ``""`` all data goes through WebHDFS.
``nameservice``
    Name of the cluster in URLs.
``kerberos``
    Whether to authenticate with the Kerberos ticket; also so with ``security = kerberos`` in the section ``[core]`` of
    Airflow's configuration.
``patience_seconds``
    How long a request waits for a NameNode that is active.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf, mask_secret

from airflow_dataflow.errors import InvalidInputError, did_you_mean

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

SCHEMES = frozenset({"hdfs", "webhdfs"})
DEFAULT_CONN_ID = "webhdfs_default"
_EXTRAS = (
    *("use_ssl", "verify", "cert", "key", "cookies", "headers"),
    *("rpc", "nameservice", "kerberos", "patience_seconds"),
)
_PORTS = {False: 9870, True: 9871}
_FALSE = ("", "0", "false", "no", "none")


def connection_options(conn_id: str | None) -> dict[str, Any]:
    """Return what a connection says, by the names of
    :class:`~airflow_dataflow.storage.hdfs.options.HdfsConnection`, secrets included: never log it.

    :param conn_id: the connection; ``webhdfs_default`` when absent, and nothing where that is not defined.
    :raises InvalidInputError: when the connection is not defined, of another type, or has no host.
    """
    try:
        connection = BaseHook.get_connection(conn_id or DEFAULT_CONN_ID)
    except AirflowNotFoundException as error:
        if conn_id is None:
            return {}
        raise InvalidInputError(
            f"connection {conn_id!r} is not defined; add one of type 'webhdfs' with the host of the NameNode"
        ) from error
    if connection.conn_type not in SCHEMES:
        raise InvalidInputError(f"connection {connection.conn_id!r} has type {connection.conn_type!r}, not 'webhdfs'")
    return _options(connection)


def url_options(url: str, conn_id: str | None) -> dict[str, Any]:
    """Return what opens a URL, secrets included: never log it.

    Without a connection, ``webhdfs_default`` counts when it is of the cluster that the URL names, or it names none.

    :param url: URL without a connection in it.
    :param conn_id: connection of type ``webhdfs``.
    """
    options = connection_options(conn_id)
    host = urlsplit(url.partition("?")[0]).hostname
    if conn_id is None and host is not None and options:
        known = {options.get("nameservice"), *(urlsplit(place).hostname for place in options["namenodes"])}
        known |= {address.rpartition(":")[0] for address in options.get("rpc") or ()}
        return options if host in known else {}
    return options


def _options(connection: Connection) -> dict[str, Any]:
    extra = connection.extra_dejson
    for name in extra:
        if name not in _EXTRAS:
            log.warning(
                "connection %r has an extra %r that means nothing for HDFS%s",
                connection.conn_id,
                name,
                did_you_mean(name, _EXTRAS),
            )
    hosts = [host.strip() for host in re.split("[,;]", connection.host or "") if host.strip()]
    if not hosts:
        raise InvalidInputError(f"connection {connection.conn_id!r} has no host; name the NameNodes, with ',' between")
    is_secure = _truth(extra.get("use_ssl", False))
    path = f"/{connection.schema.strip('/')}" if connection.schema else ""
    port = connection.port or _PORTS[is_secure]
    options: dict[str, Any] = {
        "namenodes": [f"{'https' if is_secure else 'http'}://{_with_port(host, port)}{path}" for host in hosts],
        "kerberos": _truth(extra.get("kerberos", False)) or conf.get("core", "security", fallback="") == "kerberos",
        "verify": _verify(extra.get("verify", True)),
    }
    if extra.get("rpc") is not None:
        options["rpc"] = [item.strip() for item in re.split("[,;]", _joined(extra["rpc"])) if item.strip()]
    given = {"user": connection.login, "password": connection.password}
    given |= {name: extra.get(name) for name in ("cert", "key", "cookies", "headers", "nameservice")}
    options |= {name: value for name, value in given.items() if value}
    if extra.get("patience_seconds") is not None:
        options["patience_seconds"] = float(extra["patience_seconds"])
    for secret in (connection.password, *(extra.get("headers") or {}).values(), *(extra.get("cookies") or {}).values()):
        if secret:
            mask_secret(secret)
    return options


def _with_port(host: str, port: int) -> str:
    if host.startswith("[") or host.count(":") != 1:
        name = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{name}:{port}"
    return host


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _truth(value: Any) -> bool:
    return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)


def _verify(value: Any) -> bool | str:
    """Return whether to verify certificates, or the path of those to trust."""
    if isinstance(value, str) and value.strip().lower() not in (*_FALSE, "1", "true", "yes"):
        return value
    return _truth(value)
