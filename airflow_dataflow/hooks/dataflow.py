"""The hook of connections of type ``dataflow``: the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from airflow_dataflow.errors import InvalidInputError, did_you_mean
from airflow_dataflow.hooks.catalog import catalog_url
from airflow_dataflow.hooks.storage import split_conn_id, storage_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_dataflow.datasets.catalog.catalog import Catalog
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.storage.tier import Tier

_EXTRAS = ("catalog_url", "catalog_conn_id", "tiers")
_TIER_KEYS = ("name", "class", "url", "conn_id", "storage_class", "pack_below_bytes", "compress")
_EXAMPLE = (
    '{"catalog_url": "sqlite:////data/catalog.db", "tiers": [{"name": "hot", "class": "hot", "url": "/data/hot"}]}'
)


class DataflowHook(BaseHook):
    """Open the store that a connection of type ``dataflow`` describes.

    The connection's extras are ``catalog_url``, a SQLAlchemy URL whose password may stand in the connection's
    password, or in its place ``catalog_conn_id``, a connection of type ``postgres`` or ``mysql``, and ``tiers``, a
    list of ``{"name", "class", "url", "conn_id", "storage_class"}``; ``conn_id`` names the connection, e.g. of type
    ``aws``, whose credentials open the tier, and ``storage_class`` what new files get there. A tier may also have
    ``pack_below_bytes`` and ``compress``, see :class:`~airflow_dataflow.storage.tier.Tier`.

    :param dataflow_conn_id: Airflow connection of type ``dataflow``.
    """

    conn_name_attr = "dataflow_conn_id"
    default_conn_name = "dataflow_default"
    conn_type = "dataflow"
    hook_name = "Dataflow store"

    def __init__(self, dataflow_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.dataflow_conn_id = dataflow_conn_id

    @cached_property
    def store(self) -> Store:
        """The store.

        :raises InvalidInputError: when the connection is not defined or does not describe a store.
        """
        from airflow_dataflow.storage.store import Store

        connection, extras = self._read_connection()
        tiers = [self._tier(item) for item in self._tier_items(extras)]
        return Store(tiers, self._catalog(connection, extras))

    def find_store(self) -> Store | None:
        """Return the store, ``None`` when the connection is not defined.

        :raises InvalidInputError: when the connection does not describe a store.
        """
        try:
            self.get_connection(self.dataflow_conn_id)
        except AirflowNotFoundException:
            return None
        return self.store

    def get_conn(self) -> Store:
        """Return the store."""
        return self.store

    def test_connection(self) -> tuple[bool, str]:
        """Open the catalog and write to each tier, and tell in one sentence how that went."""
        try:
            store = self.store
            count = len(store.catalog.datasets())
        except Exception as error:  # noqa: BLE001 - whatever is wrong is the answer
            return False, f"The catalog cannot be opened: {error}"
        for tier in store.tiers:
            try:
                tier.directory.probe()
            except Exception as error:  # noqa: BLE001 - whatever is wrong is the answer
                return False, f"Tier {tier.name!r} at {tier.url} cannot be written: {error}"
        places = ", ".join(f"{tier.name} ({tier.url})" for tier in store.tiers)
        return True, f"The catalog opens (datasets: {count}) and these tiers can be written: {places}."

    def _read_connection(self) -> tuple[Connection, dict[str, Any]]:
        try:
            connection = self.get_connection(self.dataflow_conn_id)
        except AirflowNotFoundException as error:
            raise InvalidInputError(
                f"connection {self.dataflow_conn_id!r} is not defined; add one of type 'dataflow' "
                f"with extras such as {_EXAMPLE}"
            ) from error
        if connection.conn_type != self.conn_type:
            raise self._wrong(f"has type {connection.conn_type!r}, not 'dataflow'")
        try:
            extras = json.loads(connection.extra or "{}")
        except ValueError as error:
            raise self._wrong(f"has extras that are not JSON ({error})") from error
        if not isinstance(extras, Mapping):
            raise self._wrong("has extras that are not a JSON object")
        for key in extras:
            if key not in _EXTRAS:
                raise self._wrong(f"has an unknown extra {key!r}{did_you_mean(str(key), _EXTRAS)}")
        return connection, dict(extras)

    def _catalog(self, connection: Connection, extras: dict[str, Any]) -> Catalog:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        from airflow_dataflow.datasets.catalog.catalog import Catalog

        text, conn_id = extras.get("catalog_url"), extras.get("catalog_conn_id")
        if bool(text) == bool(conn_id):
            found = "both" if text else "neither"
            raise self._wrong(f"has {found} of the extras 'catalog_url' and 'catalog_conn_id', of which one is needed")
        if conn_id:
            return Catalog(catalog_url(conn_id))
        try:
            url = make_url(str(text))
        except (ArgumentError, ValueError):
            # What SQLAlchemy says quotes parts of the text, and a password may be among them.
            raise self._wrong("has a 'catalog_url' that is no SQLAlchemy URL") from None
        if connection.password:
            url = url.set(password=connection.password)
        if url.password:
            mask_secret(url.password)
        return Catalog(url)

    def _tier_items(self, extras: dict[str, Any]) -> list[Any]:
        items = extras.get("tiers")
        if isinstance(items, str):
            try:
                items = json.loads(items)
            except ValueError as error:
                raise self._wrong(f"has an extra 'tiers' that is not JSON ({error})") from error
        if not isinstance(items, list) or not items:
            raise self._wrong("has no list of tiers in its extra 'tiers'")
        return items

    def _tier(self, item: Any) -> Tier:
        from airflow_dataflow.storage.tier import Tier

        if not isinstance(item, Mapping):
            raise self._wrong(f"has a tier {item!r} that is not an object")
        for key in item:
            if key not in _TIER_KEYS:
                raise self._wrong(f"has a tier with an unknown key {key!r}{did_you_mean(str(key), _TIER_KEYS)}")
        missing = [key for key in _TIER_KEYS[:3] if not item.get(key)]
        if missing:
            raise self._wrong(f"has a tier without {missing[0]!r}: {item!r}")
        url, conn_id = split_conn_id(item["url"], item.get("conn_id"))
        return Tier(
            name=item["name"],
            tier_class=item["class"],
            url=url,
            storage_options=storage_options(url, conn_id),
            storage_class=item.get("storage_class"),
            pack_below_bytes=item.get("pack_below_bytes") or 0,
            compress=item.get("compress", "off"),
        )

    def _wrong(self, what: str) -> InvalidInputError:
        return InvalidInputError(
            f"connection {self.dataflow_conn_id!r} {what}; its extras have to look like {_EXAMPLE}"
        )
