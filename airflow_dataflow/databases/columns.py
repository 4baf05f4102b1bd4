"""Columns as a database sends them, and as Arrow keeps them: converted without a changed value, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DAY_MICROSECONDS = 86_400_000_000
MOST_DIGITS = 76
"""Most digits of a decimal256."""
SQL_TYPE = b"dataflow:sql:"
"""Start of the key of a field's metadata that tells a database's own name of its type."""

_DECIMAL128_DIGITS = 38
_ZERO_DATE = re.compile(r"[0-9]{4}-(00|[0-9]{2}-00)")


class MisfitError(ValueError):
    """A value has no equal in the Arrow type.

    :param reason: name of what is wrong, such as ``not_a_number``; quarantined rows are counted by it.
    :param value: the value, readable.
    """

    def __init__(self, reason: str, value: str) -> None:
        super().__init__(f"{value} ({reason})")
        self.reason = reason
        self.value = value


Convert = Callable[[Sequence[pa.Array]], pa.Array]


def as_it_is(arrays: Sequence[pa.Array]) -> pa.Array:
    """Return the one array that was read."""
    return arrays[0]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a source."""

    name: str
    """Its name."""
    type: pa.DataType
    """Arrow type of the values that are kept."""
    sql_type: str
    """The database's own name of its type, e.g. ``numeric(12,2)``."""
    expressions: tuple[str, ...]
    """What to select; most columns need but themselves."""
    convert: Convert = field(default=as_it_is, compare=False)
    """Makes the column of what the expressions gave; raises :class:`MisfitError`."""

    def field(self, dialect: str) -> pa.Field:
        """Return the Arrow field; it keeps the database's type, so that a table can be made like this one."""
        return pa.field(self.name, self.type, metadata={SQL_TYPE + dialect.encode(): self.sql_type.encode()})


@dataclass(frozen=True)
class Misfit:
    """A row that cannot be kept as it is."""

    position: int
    """Its place in the batch."""
    column: str
    """The first column that does not fit."""
    reason: str
    """Name of what is wrong."""
    value: str
    """The value, readable."""


def typed(columns: Sequence[Column], raw: pa.RecordBatch, schema: pa.Schema) -> tuple[pa.RecordBatch, list[Misfit]]:
    """Convert a batch as the database sent it.

    :param columns: the columns, whose expressions follow each other in ``raw``.
    :param raw: what the expressions gave.
    :param schema: schema of the result.
    :returns: the columns, null where a value does not fit, and the rows with such values.
    """
    arrays, misfits, start = [], dict[int, Misfit](), 0
    for column in columns:
        end = start + len(column.expressions)
        array, found = _convert(column, raw.columns[start:end], 0)
        start = end
        arrays.append(array)
        for misfit in found:
            misfits.setdefault(misfit.position, misfit)
    return pa.record_batch(arrays, schema=schema), [misfits[position] for position in sorted(misfits)]


def _convert(column: Column, arrays: Sequence[pa.Array], start: int) -> tuple[pa.Array, list[Misfit]]:
    try:
        return column.convert(arrays), []
    except MisfitError as error:
        rows = len(arrays[0])
        if rows == 1:
            return pa.nulls(1, column.type), [Misfit(start, column.name, error.reason, error.value)]
    half = rows // 2
    # A copy: the slice of a nested array shares the items of its neighbours.
    first, bad_first = _convert(column, [_rows(array, 0, half) for array in arrays], start)
    second, bad_second = _convert(column, [_rows(array, half, rows) for array in arrays], start + half)
    return pa.concat_arrays([first, second]), bad_first + bad_second


def _rows(array: pa.Array, start: int, end: int) -> pa.Array:
    return array.take(pa.array(np.arange(start, end)))


# conversions ------------------------------------------------------------------------------------


def decimal_type(digits: int, scale: int) -> pa.DataType | None:
    """Return the decimal type for so many digits, ``scale`` of them behind the point; ``None`` when there is none."""
    digits, scale = max(digits, scale) if scale >= 0 else digits - scale, max(scale, 0)
    if digits > MOST_DIGITS:
        return None
    return pa.decimal128(digits, scale) if digits <= _DECIMAL128_DIGITS else pa.decimal256(digits, scale)


def from_text(target: pa.DataType) -> Convert:
    """Return the conversion of text to a type whose text Arrow reads.

    :raises MisfitError: from the conversion, for a value that the type does not hold.
    """

    def convert(arrays: Sequence[pa.Array]) -> pa.Array:
        return _parsed(arrays[0], target)

    return convert


def _parsed(text: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return text.cast(target)
    except pa.ArrowInvalid as error:
        if len(text) > 1:
            half = len(text) // 2
            _parsed(text.slice(0, half), target)  # one of the two fails, and names the value
            _parsed(text.slice(half), target)
        value = text[0].as_py()
        raise MisfitError(_reason_of(str(value), target), repr(value)) from error


def _reason_of(value: str, target: pa.DataType) -> str:
    plain = value.lower().lstrip("-")
    if plain == "nan":
        return "not_a_number"
    if plain in ("inf", "infinity"):
        return "infinite"
    if pa.types.is_decimal(target):
        return "too_many_digits"
    return "zero_date" if _ZERO_DATE.match(value) else "out_of_range"


def integers_within(first: int, last: int, storage: pa.DataType, infinities: Collection[int] = ()) -> Convert:
    """Return a check of values that are integers inside, such as dates: all have to lie from ``first`` to ``last``.

    :param infinities: integers outside of that, which stand for an infinite value.
    """

    def convert(arrays: Sequence[pa.Array]) -> pa.Array:
        numbers = arrays[0].view(storage)
        limits = pc.min_max(numbers)
        low, high = limits["min"].as_py(), limits["max"].as_py()
        if low is not None and (low < first or high > last):
            odd = low if low < first else high
            if odd in infinities:
                raise MisfitError("infinite", "an infinite value")
            raise MisfitError("out_of_range", f"a value that {arrays[0].type} does not hold")
        return arrays[0]

    return convert


def each_item(convert: Convert, item_type: pa.DataType) -> Convert:
    """Return the conversion of lists whose items ``convert`` converts."""

    def convert_lists(arrays: Sequence[pa.Array]) -> pa.Array:
        lists = arrays[0]
        items = convert([lists.flatten()])
        lengths = pc.list_value_length(lists).fill_null(0)
        return pa.ListArray.from_arrays(
            _offsets(lengths.to_numpy(zero_copy_only=False)),
            items,
            type=pa.list_(item_type),
            mask=lists.is_null(),
        )

    return convert_lists


def nested(convert: Convert, item_type: pa.DataType, dimensions: int) -> Convert:
    """Return the conversion of a flat list, followed by its lengths in all dimensions but the last, to nested lists."""

    def convert_nested(arrays: Sequence[pa.Array]) -> pa.Array:
        flat, *counts = arrays
        items = convert([flat.flatten()])
        total = pc.list_value_length(flat).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        lengths = [count.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) for count in counts]
        outer = np.multiply.accumulate(lengths)
        last = np.divide(total, outer[-1], out=np.zeros(len(total)), where=outer[-1] > 0).astype(np.int64)
        lengths.append(last)
        kind = item_type
        for level in range(dimensions - 1, 0, -1):
            kind = pa.list_(kind)
            items = pa.ListArray.from_arrays(_offsets(np.repeat(lengths[level], outer[level - 1])), items, type=kind)
        return pa.ListArray.from_arrays(_offsets(lengths[0]), items, type=pa.list_(kind), mask=flat.is_null())

    return convert_nested


def _offsets(lengths: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
