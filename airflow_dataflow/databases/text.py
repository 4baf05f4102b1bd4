r"""Arrow columns as the text that databases load fastest: tab-separated lines, ``\N`` for a missing value.

PostgreSQL's COPY and MySQL's LOAD DATA read the same lines; what differs are the texts of some types, a :class:`Style`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from airflow_dataflow.databases.columns import DAY_MICROSECONDS
from airflow_dataflow.errors import InvalidInputError, UnsupportedError

_YEAR_1, _YEAR_10000 = -719_162, 2_932_897
_BEFORE_CHRIST = re.compile(r"^(-?\d+)(-\d\d-\d\d.*)$")
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a database writes values."""

    bytes_prefix: str
    """What stands before the hexadecimal digits of bytes."""
    zone_suffix: str
    """What stands behind a time in UTC."""
    not_a_number: bool
    """Whether floating-point columns hold NaN and infinities."""
    arrays: frozenset[str] = frozenset()
    """Columns whose lists are arrays of the database; the lists of all others become JSON."""


def lines(batch: pa.RecordBatch, style: Style) -> memoryview:
    """Return the rows as lines, each ended.

    :raises InvalidInputError: for a value that the database cannot hold.
    """
    columns = [_escaped(text_of(column, item, style)) for item, column in zip(batch.schema, batch.columns, strict=True)]
    # Large strings: together the columns of a batch may pass the 2 GiB of ordinary ones.
    large = [column.cast(pa.large_string()) for column in columns]
    tab, newline, nothing = (pa.scalar(sign, pa.large_string()) for sign in ("\t", "\n", ""))
    joined = pc.binary_join_element_wise(*large, tab, null_handling="replace", null_replacement="\\N")
    whole = pc.binary_join_element_wise(joined, newline, nothing)
    _, offsets, data = whole.buffers()
    if data is None:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    return memoryview(data)[bounds[0] : bounds[-1]]


def text_of(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    """Return the text of each value, null for null."""
    if pa.types.is_list(plain_type(item.type)) and item.name in style.arrays:
        return _array_literals(array.cast(plain_type(item.type)), item, style)
    return _scalars(array, item, style)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the same values without a special encoding."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return kind


def _scalars(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    kind = plain_type(item.type)
    array = _plain(array)
    if pa.types.is_nested(kind):
        return pa.array([None if value is None else _json(value) for value in array.to_pylist()], pa.string())
    for test, write in _WRITERS:
        if test(kind):
            return write(array, item, style)
    if any(test(kind) for test in _AS_ARROW_WRITES_THEM):
        return array.cast(pa.string())
    raise UnsupportedError(f"column {item.name!r} has type {item.type}, which no table holds: convert it before")


def _plain(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _booleans(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    del item, style
    return array.cast(pa.int8()).cast(pa.string())


def _bytes(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    del item
    digits = pl.Series(pl.from_arrow(array.cast(pa.large_binary()))).bin.encode("hex")
    text = digits.to_arrow().cast(pa.string())
    return pc.binary_join_element_wise(style.bytes_prefix, text, "") if style.bytes_prefix else text


def _floats(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    if not style.not_a_number and pc.any(pc.invert(pc.is_finite(array))).as_py():
        odd = array.filter(pc.invert(pc.is_finite(array)))[0].as_py()
        raise InvalidInputError(f"column {item.name!r} has the value {odd}, which this database cannot hold")
    return array.cast(pa.string())


def _times(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    try:
        micro = array.cast(pa.timestamp("us", array.type.tz)).cast(pa.timestamp("us", array.type.tz and "UTC"))
    except pa.ArrowInvalid as error:
        raise InvalidInputError(
            f"column {item.name!r} has times in {item.type}, but a database keeps microseconds: round them before"
        ) from error
    local = micro.view(pa.int64()).view(pa.timestamp("us"))
    suffix = style.zone_suffix if array.type.tz else ""
    text = _calendar(local, local.view(pa.int64()), DAY_MICROSECONDS, suffix)
    return text if text is not None else pc.binary_join_element_wise(local.cast(pa.string()), suffix, "")


def _dates(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    del item, style
    array = array.cast(pa.date32())
    text = _calendar(array, array.view(pa.int32()), 1, "")
    return text if text is not None else array.cast(pa.string())


def _calendar(array: pa.Array, numbers: pa.Array, per_day: int, suffix: str) -> pa.Array | None:
    """Return the text of moments of which some lie outside of the years 1 to 9999, ``None`` when none does."""
    limits = pc.min_max(numbers)
    low, high = limits["min"].as_py(), limits["max"].as_py()
    if low is None or (low >= _YEAR_1 * per_day and high < _YEAR_10000 * per_day):
        return None
    unit = "D" if per_day == 1 else "us"
    moments = numbers.fill_null(0).to_numpy().astype(np.int64).view(f"datetime64[{unit}]")
    texts = [_before_christ(text.replace("T", " "), suffix) for text in np.datetime_as_string(moments)]
    return pc.if_else(array.is_valid(), pa.array(texts, pa.string()), pa.scalar(None, pa.string()))


def _before_christ(text: str, suffix: str) -> str:
    match = _BEFORE_CHRIST.match(text)
    year = int(match[1]) if match else 1
    return f"{text}{suffix}" if not match or year > 0 else f"{1 - year:04d}{match[2]}{suffix} BC"


def _array_literals(array: pa.Array, item: pa.Field, style: Style) -> pa.Array:
    """Return lists as PostgreSQL writes arrays: ``{"a","b",NULL}``."""
    inner = pa.field(item.name, array.type.value_type)
    flat = array.flatten()
    if pa.types.is_list(inner.type):
        texts = _array_literals(flat, inner, style)
    else:
        texts = _scalars(flat, inner, style)
        for sign in ("\\", '"'):
            texts = pc.replace_substring(texts, sign, f"\\{sign}")
        texts = pc.binary_join_element_wise('"', texts, '"', "")
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    lists = pa.ListArray.from_arrays(offsets, texts.fill_null("NULL"), mask=array.is_null())
    return pc.binary_join_element_wise("{", pc.binary_join(lists, ","), "}", "")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_text)


def _json_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _escaped(text: pa.Array) -> pa.Array:
    for sign, escape in _ESCAPES:
        if pc.any(pc.match_substring(text, sign)).as_py():
            text = pc.replace_substring(text, sign, escape)
    return text


_WRITERS = (
    (pa.types.is_boolean, _booleans),
    (pa.types.is_binary, _bytes),
    (pa.types.is_floating, _floats),
    (pa.types.is_timestamp, _times),
    (pa.types.is_date, _dates),
)
_AS_ARROW_WRITES_THEM = (
    pa.types.is_null,
    pa.types.is_string,
    pa.types.is_integer,
    pa.types.is_decimal,
    pa.types.is_time,
)

TypeName = Callable[[pa.DataType], str | None]


def type_names(schema: pa.Schema, name_of: TypeName, known: Mapping[str, str]) -> dict[str, str]:
    """Return the database's type of every column.

    :param name_of: finds the type for an Arrow type.
    :param known: types that are certain already, by column.
    :raises UnsupportedError: for a type that no table holds.
    """
    names = {}
    for item in schema:
        name = known.get(item.name) or name_of(plain_type(item.type))
        if name is None:
            raise UnsupportedError(
                f"column {item.name!r} has type {item.type}, which no table holds: convert it before"
            )
        names[item.name] = name
    return names
