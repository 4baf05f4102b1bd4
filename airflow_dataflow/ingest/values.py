"""Values of JSON as Python holds them: their types, their text, and how they fit a wider type.

The slow and careful way, for the few blocks of a file that Arrow's own parser refuses. Types are *observed* types, see
:mod:`airflow_dataflow.ingest.columns`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import pyarrow as pa

from airflow_dataflow.ingest.columns import EXACT_FLOAT, SMALL_INT, join, text_of

INT64 = range(-(2**63), 2**63)
MAX_DEPTH = 32
"""Levels of nesting that Arrow, Parquet and their readers all take."""


def depth_of(value: Any) -> int:
    """Return the levels of nesting: 0 for a scalar.

    :raises RecursionError: when there are too many to count.
    """
    inner: Iterable[Any]
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return 0
    return 1 + max(map(depth_of, inner), default=0)


def type_of(value: Any) -> pa.DataType:  # noqa: PLR0911 - one line per kind
    """Return the observed type of one value."""
    match value:
        case None:
            return pa.null()
        case bool():
            return pa.bool_()
        case int():
            if -EXACT_FLOAT <= value <= EXACT_FLOAT:
                return SMALL_INT
            return pa.int64() if value in INT64 else pa.string()
        case float():
            return pa.float64()
        case str():
            return pa.string()
        case dict():
            return pa.struct([(name, type_of(item)) for name, item in value.items()])
        case _:
            return pa.list_(type_of_all(value))


def type_of_all(values: Iterable[Any]) -> pa.DataType:
    """Return the narrowest observed type that holds all values."""
    return reduce(join, map(type_of, values), pa.null())


def fit(value: Any, target: pa.DataType) -> Any:
    """Return ``value`` as Arrow takes it for ``target``, a type that :func:`type_of_all` found to be wide enough."""
    if value is None:
        return None
    if pa.types.is_string(target):
        return text_of(value)
    if pa.types.is_struct(target):
        return {item.name: fit(value.get(item.name), item.type) for item in target}
    if pa.types.is_list(target):
        return [fit(item, target.value_type) for item in value]
    return float(value) if pa.types.is_floating(target) else value
