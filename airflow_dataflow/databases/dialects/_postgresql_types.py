"""Types of PostgreSQL in Arrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from airflow_dataflow.databases.columns import (
    DAY_MICROSECONDS,
    Column,
    Convert,
    as_it_is,
    decimal_type,
    each_item,
    from_text,
    integers_within,
    nested,
)
from airflow_dataflow.errors import UnsupportedError

UNBOUNDED = (38, 18)
"""Digits, and digits behind the point, that stand for a numeric without any; what Spark reads it as, too."""

_FIRST_DAY = -2_440_588  # 24 November 4714 BC, PostgreSQL's first day
# PostgreSQL counts from 2000. Its infinities are the largest and smallest integers; counted from 1970 they wrap around.
_INFINITE_DAYS = frozenset({-(2**31) + 10_956, -(2**31) + 10_957})
_INFINITE_TIMES = frozenset({-(2**63) + 10_957 * DAY_MICROSECONDS - 1, -(2**63) + 10_957 * DAY_MICROSECONDS})
_DAYS = integers_within(_FIRST_DAY, 2**31 - 1, pa.int32(), _INFINITE_DAYS)
_TIMES = integers_within(_FIRST_DAY * DAY_MICROSECONDS, 2**63 - 1, pa.int64(), _INFINITE_TIMES)
_CLOCK = integers_within(0, DAY_MICROSECONDS - 1, pa.int64())
_AS_TEXT = frozenset(
    {
        "uuid",
        "json",
        "jsonb",
        "xml",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "interval",
        "timetz",
        "bit",
        "varbit",
        "char",
    }
)
_NUMERIC_HEADER = 4


@dataclass(frozen=True, kw_only=True)
class PostgresType:
    """What the catalog says of a column's type."""

    name: str
    """Name of the type, of its items for an array, e.g. ``int4``."""
    sql_type: str
    """As people write it, with its bounds, e.g. ``numeric(12,2)[]``."""
    is_enum: bool
    """Whether it is an enumeration."""
    is_array: bool
    """Whether it is an array."""
    modifier: int
    """Its bounds, as the catalog keeps them; -1 for none."""


@dataclass(frozen=True)
class _Plan:
    type: pa.DataType
    cast: str = ""
    convert: Convert = as_it_is


_PLANS: dict[str, _Plan] = {
    "bool": _Plan(pa.bool_()),
    "int2": _Plan(pa.int16()),
    "int4": _Plan(pa.int32()),
    "int8": _Plan(pa.int64()),
    "oid": _Plan(pa.int64(), "int8"),
    "float4": _Plan(pa.float32()),
    "float8": _Plan(pa.float64()),
    "text": _Plan(pa.string()),
    "varchar": _Plan(pa.string()),
    "bpchar": _Plan(pa.string()),
    "name": _Plan(pa.string(), "text"),
    "bytea": _Plan(pa.binary()),
    "date": _Plan(pa.date32(), convert=_DAYS),
    "time": _Plan(pa.time64("us"), convert=_CLOCK),
    "timestamp": _Plan(pa.timestamp("us"), convert=_TIMES),
    "timestamptz": _Plan(pa.timestamp("us", "UTC"), convert=_TIMES),
}


def column_of(name: str, kind: PostgresType, quoted: str, dimensions: Callable[[], int]) -> Column:
    """Return how a column is read.

    :param name: its name.
    :param kind: its type.
    :param quoted: its name as an identifier.
    :param dimensions: finds out how many dimensions its arrays have; called for arrays.
    :raises UnsupportedError: for a type without an equal in Arrow.
    """
    plan = _plan(name, kind, quoted)
    if not kind.is_array:
        expression = f"{quoted}::{plan.cast}" if plan.cast else quoted
        return Column(
            name=name, type=plan.type, sql_type=kind.sql_type, expressions=(expression,), convert=plan.convert
        )
    levels = dimensions()
    expression = f"{quoted}::{plan.cast}[]" if plan.cast else quoted
    if levels == 1:
        convert = each_item(plan.convert, plan.type)
        return Column(
            name=name, type=pa.list_(plan.type), sql_type=kind.sql_type, expressions=(expression,), convert=convert
        )
    # The binary protocol's reader flattens arrays, so the lengths travel beside them.
    lengths = tuple(f"array_length({quoted}, {level})" for level in range(1, levels))
    whole = plan.type
    for _ in range(levels):
        whole = pa.list_(whole)
    return Column(
        name=name,
        type=whole,
        sql_type=kind.sql_type,
        expressions=(expression, *lengths),
        convert=nested(plan.convert, plan.type, levels),
    )


def _plan(name: str, kind: PostgresType, quoted: str) -> _Plan:
    if kind.is_enum or kind.name in _AS_TEXT:
        return _Plan(pa.string(), "text")
    if kind.name == "numeric":
        target = decimal_type(*_bounds(kind.modifier))
        if target is not None:
            return _Plan(target, "text", from_text(target))
    if kind.name in _PLANS:
        return _PLANS[kind.name]
    raise UnsupportedError(
        f"column {name!r} has type {kind.sql_type}, which has no equal in Arrow: select it in a query, "
        f"cast to one that has, e.g. SELECT {quoted}::text AS {quoted}"
    )


def _bounds(modifier: int) -> tuple[int, int]:
    if modifier < 0:
        return UNBOUNDED
    bounds = modifier - _NUMERIC_HEADER
    scale = bounds & 0x7FF
    return bounds >> 16 & 0xFFFF, scale - 0x800 if scale & 0x400 else scale
