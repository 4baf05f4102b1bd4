"""Which rows a night reads: all of a table, or those above the last watermark."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pyarrow as pa

from airflow_dataflow.databases.columns import Column
from airflow_dataflow.databases.dialects import Snapshot
from airflow_dataflow.errors import InvalidInputError, MissingColumnError, did_you_mean
from airflow_dataflow.ingest.table_options import TableOptions

log = logging.getLogger(__name__)

_GROWING = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp)


@dataclass(frozen=True)
class Window:
    """Rows between two watermarks."""

    conditions: tuple[str, ...] = ()
    """What a row fulfils, as SQL."""
    high: str | None = None
    """Highest watermark of the rows, as text; ``None`` without a watermark, or without rows."""
    adds: bool = False
    """Whether the rows come to those of earlier nights; otherwise they replace them."""
    rows: int | None = None
    """How many rows there are, where that is known before they are read."""


def column_named(snapshot: Snapshot, name: str, what: str) -> Column:
    """Return a column of the source.

    :raises MissingColumnError: when there is none of that name.
    """
    for column in snapshot.columns:
        if column.name == name:
            return column
    names = [column.name for column in snapshot.columns]
    raise MissingColumnError(f"the source has no column {name!r} for its {what}{did_you_mean(name, names)}")


def window_of(snapshot: Snapshot, options: TableOptions, before: Mapping[str, Any] | None) -> Window:
    """Find out what there is to read.

    :param snapshot: the source.
    :param options: names the watermark.
    :param before: what the newest version knows of its rows; ``None`` to read everything.
    """
    if options.watermark is None:
        return Window()
    column = column_named(snapshot, options.watermark, "watermark")
    if not any(test(column.type) for test in _GROWING):
        raise InvalidInputError(f"column {column.name!r} is no watermark: {column.sql_type} is no number, date or time")
    name = snapshot.quote(column.name)
    _refuse_nulls(snapshot, column.name)
    high = _high(snapshot, column, options)
    low = (before or {}).get("watermark")
    adds = low is not None and _complete(snapshot, column, options, before or {})
    if high is None:
        return Window(high=low, adds=adds, rows=0)
    upper = f"{name} <= {snapshot.literal(high, column.type)}"
    if not adds:
        return Window((upper,), high)
    lower = f"{name} > {snapshot.literal(str(low), column.type)}"
    if not int(snapshot.rows(f"SELECT count(*) FROM {snapshot.relation} WHERE {lower} AND {upper}")[0][0]):
        return Window((lower, upper), low, adds=True, rows=0)
    return Window((lower, upper), high, adds=True)


def _high(snapshot: Snapshot, column: Column, options: TableOptions) -> str | None:
    name = snapshot.quote(column.name)
    condition = ""
    if options.lag and (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        condition = f" WHERE {name} <= {snapshot.ago(options.lag)}"
    elif options.lag:
        highest = _highest(snapshot, name)
        if highest is None:
            return None
        # Not by the database, where numbers without a sign do not go below zero.
        limit = Decimal(highest) - Decimal(str(options.lag))
        whole = limit.to_integral_value(ROUND_FLOOR) if pa.types.is_integer(column.type) else limit
        condition = f" WHERE {name} <= {snapshot.literal(f'{whole:f}', column.type)}"
    return _highest(snapshot, name, condition)


def _highest(snapshot: Snapshot, name: str, condition: str = "") -> str | None:
    found = snapshot.rows(f"SELECT {snapshot.as_text(f'max({name})')} FROM {snapshot.relation}{condition}")[0][0]
    return None if found is None else str(found)


def _refuse_nulls(snapshot: Snapshot, column: str) -> None:
    name = snapshot.quote(column)
    if snapshot.rows(f"SELECT 1 FROM {snapshot.relation} WHERE {name} IS NULL LIMIT 1"):
        raise InvalidInputError(
            f"the watermark {column!r} is missing in some rows, which no night would read: "
            "give every row one, or leave those rows out by a query"
        )


def _complete(snapshot: Snapshot, column: Column, options: TableOptions, before: Mapping[str, Any]) -> bool:
    """Tell whether the rows of earlier nights are still those that were read."""
    if options.late == "ignore":
        return True
    limit = f"{snapshot.quote(column.name)} <= {snapshot.literal(str(before['watermark']), column.type)}"
    count = int(snapshot.rows(f"SELECT count(*) FROM {snapshot.relation} WHERE {limit}")[0][0])
    if count == before["rows"]:
        return True
    log.info(
        "%s rows up to %s = %s, where %s were read: rows came late, changed or were deleted, so all are read again",
        f"{count:,}",
        column.name,
        before["watermark"],
        f"{before['rows']:,}",
    )
    return False
