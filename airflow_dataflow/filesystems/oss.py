"""``ObjectStoragePath("oss://oss_default@bucket/key")``: Aliyun OSS through a connection of type ``oss``.

The Alibaba provider defines the type and registers no file system for it; the connection works without that provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_dataflow.errors import InvalidInputError, MissingPackageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

schemes = ["oss"]

_DEFAULT_CONN_ID = "oss_default"
_EXAMPLE = (
    '{"auth_type": "AK", "access_key_id": "…", "access_key_secret": "…", "region": "cn-hangzhou"}, '
    "or with an 'endpoint' instead of the region"
)


def get_fs(conn_id: str | None, storage_options: Mapping[str, Any] | None = None) -> AbstractFileSystem:
    """Return the file system that a connection opens.

    :param conn_id: connection of type ``oss``; ``oss_default`` when absent.
    :param storage_options: ``endpoint``, ``key``, ``secret`` and ``token`` that win over what the connection says.
    :raises InvalidInputError: when the connection is not defined, or has no keys or no place.
    :raises MissingPackageError: when ossfs is not installed.
    """
    try:
        from airflow_dataflow.storage.backends._oss_files import OssFiles
    except ImportError as error:
        raise MissingPackageError(f"oss:// needs 'pip install airflow-dataflow[oss]': {error}") from error
    return OssFiles(**(_options(conn_id or _DEFAULT_CONN_ID) | dict(storage_options or {})))


def _options(conn_id: str) -> dict[str, Any]:
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise InvalidInputError(
            f"connection {conn_id!r} is not defined; add one of type 'oss' with extras such as {_EXAMPLE}"
        ) from error
    extra: dict[str, Any] = connection.extra_dejson
    key = extra.get("access_key_id") or connection.login
    secret = extra.get("access_key_secret") or connection.password
    region = extra.get("region")
    endpoint = str(extra.get("endpoint") or (f"oss-{region}.aliyuncs.com" if region else ""))
    for what, value in (("access key", key and secret), ("region or endpoint", endpoint)):
        if not value:
            raise InvalidInputError(f"connection {conn_id!r} has no {what}; its extras have to look like {_EXAMPLE}")
    return {
        # The client would take a bare host for http, and send everything in the clear.
        "endpoint": endpoint if "://" in endpoint else f"https://{endpoint}",
        "key": key,
        "secret": secret,
        "token": extra.get("security_token"),
        # A listing that is remembered hides what other processes write.
        "use_listings_cache": False,
    }
