"""What tells a later night that a file is the same, without reading it.

Stamps are no part of a version: the same content may lie there under another ETag or time, and equal content makes
equal versions. They are kept beside the versions, and whoever deletes them only has the files read once more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_dataflow.datasets.name import check_dataset_name
from airflow_dataflow.errors import NotFoundError

if TYPE_CHECKING:
    from airflow_dataflow.ingest.files import Arrival
    from airflow_dataflow.ingest.landing import LandingFile
    from airflow_dataflow.storage.store import Store

log = logging.getLogger(__name__)

STAMPS_NAME = "_landing.json"


class Stamps:
    """The digests of landing files, by what a listing tells of them.

    :param store: where the dataset lies; on its hot tier they are kept.
    :param dataset: name of the dataset that the files are ingested into.
    """

    def __init__(self, store: Store, dataset: str) -> None:
        self._folder = store.hot.directory.child(check_dataset_name(dataset))
        self._known = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._folder.read(STAMPS_NAME))
        except NotFoundError:
            return {}
        except ValueError:
            log.warning("%s/%s is no JSON: all files are read again", self._folder.url, STAMPS_NAME)
            return {}
        return known if isinstance(known, dict) else {}

    def digest(self, file: LandingFile) -> str:
        """Return the digest of a file that was read before and looks the same; empty for any other."""
        match self._known.get(file.url):
            case [size, str(stamp), str(digest)] if (size, stamp) == (file.bytes, file.stamp):
                return digest
        return ""

    def keep(self, arrivals: Iterable[Arrival]) -> None:
        """Keep the stamps of all files that lie there now.

        That they cannot be kept only costs time tomorrow, so it is no error.
        """
        known: dict[str, Any] = {
            arrival.file.url: [arrival.file.bytes, arrival.file.stamp, arrival.digest]
            for arrival in arrivals
            if arrival.digest and arrival.file.stamp
        }
        if known == self._known:
            return
        try:
            with self._folder.create(STAMPS_NAME) as file:
                file.write(json.dumps(known, sort_keys=True, separators=(",", ":")).encode())
        except Exception as error:  # noqa: BLE001 - whatever it is, the version is there
            log.warning("the stamps of %s files could not be kept: %s", len(known), error)
