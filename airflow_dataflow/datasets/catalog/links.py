"""How fast the links between places have been, as replications measure them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_dataflow.datasets.catalog.rows import put
from airflow_dataflow.datasets.catalog.tables import link_rates

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from airflow_dataflow.datasets.catalog.catalog import Catalog

_KEPT = 20
"""Measurements of one link that are kept; what it did years ago says little of today."""


@dataclass(frozen=True, kw_only=True)
class LinkRate:
    """What went over one link during one transfer."""

    source: str
    """Name of the place that has sent."""
    target: str
    """Name of the place that has received."""
    at: datetime
    """When it began, in UTC."""
    bytes: int
    """Bytes that were sent."""
    seconds: float
    """Seconds in which at least one of them was on its way."""

    @property
    def bytes_per_second(self) -> float:
        """The rate."""
        return self.bytes / self.seconds


def record_link_rate(catalog: Catalog, rate: LinkRate) -> None:
    """Remember a measurement, and forget all of that link but the newest."""
    described = {
        "source": rate.source,
        "target": rate.target,
        "measured_at": rate.at.astimezone(UTC).replace(tzinfo=None),
        "bytes": rate.bytes,
        "seconds": rate.seconds,
    }
    key = {"id": f"{rate.at.astimezone(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(5)}"}
    link = sa.and_(link_rates.c.source == rate.source, link_rates.c.target == rate.target)

    def work(connection: Connection) -> None:
        put(connection, link_rates, key, described)
        ids = sa.select(link_rates.c.id).where(link).order_by(link_rates.c.id.desc()).offset(_KEPT).limit(1)
        oldest = connection.execute(ids).scalar()
        if oldest is not None:
            connection.execute(link_rates.delete().where(link, link_rates.c.id <= oldest))

    catalog.database.transact(work)


def link_rates_of(catalog: Catalog, *, before: datetime | None = None) -> list[LinkRate]:
    """Return the measurements of all links, the newest first.

    :param before: leave out this moment and later ones; none when ``None``.
    """
    statement = sa.select(link_rates).order_by(link_rates.c.id.desc())
    if before is not None:
        statement = statement.where(link_rates.c.measured_at < before.astimezone(UTC).replace(tzinfo=None))
    return [
        LinkRate(
            source=row.source,
            target=row.target,
            at=row.measured_at.replace(tzinfo=UTC),
            bytes=row.bytes,
            seconds=row.seconds,
        )
        for row in catalog.database.rows(statement)
    ]


def best_rates(rates: Iterable[LinkRate]) -> dict[tuple[str, str], float]:
    """Return bytes per second by link: the best that was seen, since others shared the link when it was slower."""
    best: dict[tuple[str, str], float] = {}
    for rate in rates:
        link = (rate.source, rate.target)
        best[link] = max(best.get(link, 0.0), rate.bytes_per_second)
    return best
