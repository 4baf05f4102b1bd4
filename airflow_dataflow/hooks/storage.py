"""Storage that a task reaches through Airflow's connections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_dataflow.hooks.hdfs import SCHEMES, url_options

if TYPE_CHECKING:
    from airflow_dataflow.storage.directory import Directory


_DEFAULT_CONN_IDS = {"s3": "aws_default"}
"""Connections that stand for a scheme's credentials when nobody names one; the providers' own defaults."""
_PACKAGES = {
    "abfs": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
    "gcs": "apache-airflow-providers-google",
    "gs": "apache-airflow-providers-google",
}
"""Providers that open a scheme, for the message where they are not installed."""


def split_conn_id(url: str, conn_id: str | None = None) -> tuple[str, str | None]:
    """Take the connection out of a URL such as ``s3://aws_default@bucket/key``, the form that Airflow's paths have.

    :param url: URL or local path.
    :param conn_id: wins over the one in the URL; empty means absent.
    :returns: the URL without a connection, and the connection id or ``None``.
    """
    if "://" not in url:
        return url, conn_id or None
    # Cut as text: urllib forgets the "//" of a URL without a host, empty queries, tabs and line ends.
    scheme, separator, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    named, at, host = authority.rpartition("@")
    if not at:
        return url, conn_id or None
    return f"{scheme}{separator}{host}{rest.removeprefix(authority)}", conn_id or named or None


def with_conn_id(url: str, conn_id: str | None) -> str:
    """Return a URL with its connection in it, as :func:`split_conn_id` takes it apart.

    :param url: URL without a connection, or local path.
    :param conn_id: Airflow connection; none when absent.
    """
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{conn_id}@{rest}" if separator and conn_id else url


def storage_options(url: str, conn_id: str | None = None) -> dict[str, Any]:
    """Return what fsspec needs to open ``url``, secrets included: never log it.

    The file system is the one that the scheme's Airflow provider makes from the connection, so every kind of
    credentials that the provider knows (keys, roles, profiles, endpoints) works here too.

    :param url: URL, with or without a connection in it, or local path.
    :param conn_id: Airflow connection, e.g. of type ``aws``; the provider's default connection when absent,
        for ``aws`` that is ``aws_default``, or what boto3 finds where that is not defined, for HDFS
        ``webhdfs_default``, or the host of the URL.
    :raises InvalidInputError: when no installed provider knows the URL's scheme, or the connection is no good.
    """
    from airflow.sdk.io import get_fs, has_fs

    from airflow_dataflow.errors import InvalidInputError

    plain, conn_id = split_conn_id(url, conn_id)
    scheme = plain.partition("://")[0].lower() if "://" in plain else "file"
    if scheme == "file":
        return {}
    if scheme in SCHEMES:
        return url_options(plain, conn_id)
    if not has_fs(scheme):
        raise InvalidInputError(
            f"no installed Airflow provider opens {scheme}:// URLs such as {plain!r}; "
            f"install {_PACKAGES.get(scheme, 'the provider of that storage')}, or use a path, file:// or s3://"
        )
    return dict(get_fs(scheme, conn_id or _DEFAULT_CONN_IDS.get(scheme)).storage_options)


def directory(url: str, conn_id: str | None = None) -> Directory:
    """Open the folder at ``url`` with the credentials of an Airflow connection.

    :param url: URL, with or without a connection in it, or local path.
    :param conn_id: Airflow connection; the provider's default connection when absent.
    """
    from airflow_dataflow.storage.directory import Directory

    plain, _ = split_conn_id(url, conn_id)
    return Directory.from_url(plain, storage_options(url, conn_id))


def uri(url: str, conn_id: str | None = None) -> str:
    """Return a URL or local path as the URI of an asset, without a connection in it.

    A URL on HDFS without a host gets the name of its connection's cluster.

    :param url: URL, with or without a connection in it, or local path.
    :param conn_id: Airflow connection that opens it; the one in the URL, or the default of its provider, when absent.
    """
    plain, conn_id = split_conn_id(url, conn_id)
    scheme, separator, rest = plain.partition("://")
    if not separator:
        return Path(plain).absolute().as_uri()
    if scheme in SCHEMES and rest.startswith("/"):
        from airflow_dataflow.storage.hdfs.options import HdfsConnection

        options = HdfsConnection.make(url_options(plain, conn_id)).complete(scheme)
        return f"{scheme}://{options.authority(scheme)}{rest}"
    return plain
