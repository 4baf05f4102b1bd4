"""Where commands find the store, and the credentials of URLs: a file, or Airflow's connections."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_dataflow.errors import InvalidInputError, NotFoundError, did_you_mean

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_dataflow.storage.store import Store

_KEYS = ("catalog_url", "tiers")
_TIER_KEYS = ("name", "class", "url", "storage_options", "storage_class", "pack_below_bytes", "compress")


def open_store(arguments: Namespace) -> Store:
    """Return the store that ``--store``, the environment variable ``DATAFLOW_STORE`` or ``--conn-id`` names.

    What the command reads from it is recorded when the command ends.

    :raises InvalidInputError: when that does not describe a store.
    """
    from airflow_dataflow.datasets.catalog.reads import Reader

    reader = Reader(command=arguments.command.name)
    store: Store = arguments.ending.enter_context(_store(arguments).read_by(reader))
    return store


def _store(arguments: Namespace) -> Store:
    path = _file(arguments)
    if path:
        return read_store(path)
    _read_connections_from_the_database()
    from airflow_dataflow.hooks.dataflow import DataflowHook

    return DataflowHook(arguments.conn_id).store


def has_store_file(arguments: Namespace) -> bool:
    """Tell whether a file describes the store; a connection is not looked for, which takes Airflow seconds."""
    return bool(_file(arguments))


def has_store(arguments: Namespace) -> bool:
    """Tell whether a file or a connection is there for :func:`open_store`, whatever is in it."""
    if _file(arguments):
        return True
    _read_connections_from_the_database()
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        BaseHook.get_connection(arguments.conn_id)
    except AirflowNotFoundException:
        return False
    return True


def _file(arguments: Namespace) -> str | None:
    return arguments.store or os.environ.get("DATAFLOW_STORE")


def _read_connections_from_the_database() -> None:
    # As Airflow's own `airflow connections` does: outside of a task it looks at environment variables only, otherwise.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def read_store(path: str | Path) -> Store:
    """Return the store that a YAML or JSON file describes.

    :param path: a file with ``catalog_url`` and ``tiers``, a list of ``{name, class, url, storage_options}``.
    :raises NotFoundError: when there is no such file.
    :raises InvalidInputError: when it does not describe a store.
    """
    import yaml

    from airflow_dataflow.datasets.catalog.catalog import Catalog
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.storage.tier import Tier

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"no store file {str(path)!r}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"store file {str(path)!r} cannot be read: {error}") from error
    where = f"store file {path.name!r}"
    _check_keys(where, content, _KEYS, _KEYS)
    if not isinstance(content["tiers"], list):
        raise InvalidInputError(f"{where}: 'tiers' is not a list")
    tiers = []
    for number, item in enumerate(content["tiers"], start=1):
        _check_keys(f"{where}, tier {number}", item, _TIER_KEYS, _TIER_KEYS[:3])
        tiers.append(
            Tier(
                name=item["name"],
                tier_class=item["class"],
                url=item["url"],
                storage_options=item.get("storage_options") or {},
                storage_class=item.get("storage_class"),
                pack_below_bytes=item.get("pack_below_bytes") or 0,
                compress=item.get("compress", "off"),
            )
        )
    return Store(tiers, Catalog(content["catalog_url"]))


def _check_keys(where: str, content: Any, known: tuple[str, ...], required: tuple[str, ...]) -> None:
    if not isinstance(content, Mapping):
        raise InvalidInputError(f"{where} is not a mapping with the keys {', '.join(required)}")
    for key in content:
        if key not in known:
            raise InvalidInputError(f"{where} has an unknown key {key!r}{did_you_mean(str(key), known)}")
    for key in required:
        if not content.get(key):
            raise InvalidInputError(f"{where} has no {key!r}")


def database(url: str) -> tuple[sa.URL, str] | None:
    """Return the URL of a database and the table that e.g. ``postgresql://CONNECTION@/schema.table`` names.

    :returns: ``None`` for a URL or path of anything else.
    """
    if not url.startswith(("postgresql://", "postgres://", "mysql://", "mariadb://")):
        return None
    _read_connections_from_the_database()
    from airflow_dataflow.hooks.database import database_url, split_table

    dialect, conn_id, table = split_table(url)
    return database_url(dialect, conn_id), table or ""


def place(url: str, conn_id: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return a URL without a connection in it, and what fsspec needs to open it.

    :param url: path, or URL; ``s3://aws_default@bucket/key`` takes the credentials of an Airflow connection, and
        without one those of the environment count.
    :param conn_id: Airflow connection that opens it; wins over the one in the URL.
    """
    if conn_id is None and "@" not in url.partition("://")[2].partition("/")[0]:
        return url, {}
    _read_connections_from_the_database()
    from airflow_dataflow.hooks.storage import split_conn_id, storage_options

    return split_conn_id(url)[0], storage_options(url, conn_id)
