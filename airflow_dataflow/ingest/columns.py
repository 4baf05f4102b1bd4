"""Types of columns: what a batch holds, what several files have in common, and exact conversion.

*Observed* types form a lattice: :func:`join` of any two is the narrowest type that holds the values of both without
changing one, and text holds everything. In an observed type ``int32`` stands for whole numbers that a ``float64``
holds exactly (below 2**53), ``int64`` for larger ones; :func:`settle` turns an observed type into one to store.
"""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

EXACT_FLOAT = 2**53 - 1
"""Largest whole number up to which no two have the same float64."""
SMALL_INT = pa.int32()
_MICRO, _NANO = pa.timestamp("us"), pa.timestamp("ns")
_MICRO_UTC, _NANO_UTC = pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")

TIMES_IN_TEXT = (pa.date32(), _MICRO, _NANO, _MICRO_UTC, _NANO_UTC)
"""What the strings of a format without a type for dates may stand for."""
ANYTHING_IN_TEXT = (pa.bool_(), pa.int64(), pa.float64(), *TIMES_IN_TEXT)
"""What the strings of a format without any types may stand for."""

_BOOLEANS = pa.array(["true", "True", "TRUE", "false", "False", "FALSE"])
_TRUE = _BOOLEANS.slice(0, 3)
_NO_NUMBERS = pa.array(["nan", "NaN", "inf", "-inf", "Infinity", "-Infinity"])
_DATE_LENGTH = len("2026-11-23")


class MisfitError(ValueError):
    """A value does not fit a type without being changed."""


def observe(array: pa.Array, text_types: tuple[pa.DataType, ...] = ()) -> pa.DataType:  # noqa: PLR0911 - one line per kind
    """Return the observed type of the values of a column.

    :param array: one batch of the column.
    :param text_types: types that strings may stand for; the first that all of them fit is theirs.
    """
    kind = array.type
    if array.null_count == len(array):
        return pa.null()
    if pa.types.is_integer(kind):
        return _observe_integers(array)
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_string(kind):
        return _observe_text(array, text_types)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" and _has_nanoseconds(array) else "us", kind.tz)
    if pa.types.is_struct(kind):
        pairs = zip(kind, array.flatten(), strict=True)
        return pa.struct([(item.name, _observe_item(child)) for item, child in pairs])
    if pa.types.is_list(kind):
        return pa.list_(_observe_item(array.flatten()))
    return kind


def join(left: pa.DataType, right: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - one line per kind
    """Return the narrowest observed type that holds the values of both."""
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    both = {left, right}
    if both == {SMALL_INT, pa.int64()}:
        return pa.int64()
    if both <= {SMALL_INT, pa.float32(), pa.float64()}:
        return pa.float64()
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right) and (left.tz is None) == (right.tz is None):
        zone = left.tz if left.tz == right.tz else "UTC"
        return pa.timestamp("ns" if "ns" in (left.unit, right.unit) else "us", zone)
    if pa.types.is_list(left) and pa.types.is_list(right):
        return pa.list_(join(left.value_type, right.value_type))
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        return pa.struct(join_fields({item.name: item.type for item in left}, {item.name: item.type for item in right}))
    if pa.types.is_decimal(left) and pa.types.is_decimal(right):
        return _join_decimals(left, right)
    return pa.string()


def join_fields(left: dict[str, pa.DataType], right: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
    """Join the types of two sets of columns by name; the order is that of ``left``, then what ``right`` adds."""
    joined = dict(left)
    for name, kind in right.items():
        joined[name] = join(joined.get(name, pa.null()), kind)
    return joined


def settle(observed: pa.DataType) -> pa.DataType:
    """Return the type to store for an observed type; what never had a value is stored as text."""
    if observed == SMALL_INT:
        return pa.int64()
    if pa.types.is_null(observed):
        return pa.string()
    if pa.types.is_list(observed):
        return pa.list_(settle(observed.value_type))
    if pa.types.is_struct(observed):
        fields = [(item.name, settle(item.type)) for item in observed]
        return pa.struct(fields) if fields else pa.string()
    return observed


def convert(array: pa.Array, target: pa.DataType) -> pa.Array:  # noqa: PLR0911 - one line per kind
    """Return the values in another type, none of them changed.

    :raises MisfitError: when a value does not fit.
    """
    source = array.type
    if source == target:
        return array
    if array.null_count == len(array):
        return pa.nulls(len(array), target)
    if pa.types.is_string(target):
        return to_text(array)
    if pa.types.is_string(source):
        return _from_text(array, target)
    if pa.types.is_struct(source) and pa.types.is_struct(target):
        return _convert_struct(array, target)
    if pa.types.is_list(source) and pa.types.is_list(target):
        lengths = pc.list_value_length(array).fill_null(0)
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
        items = convert(array.flatten(), target.value_type)
        return pa.ListArray.from_arrays(offsets, items, type=target, mask=array.is_null())
    if pa.types.is_nested(source) or pa.types.is_nested(target):
        raise MisfitError(f"{source} does not fit {target}")
    if _same_family(source, target):
        return _cast(array, target)
    return _from_text(to_text(array), target)


def convert_or_null(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Convert what fits; return the column, null where a value does not, and the positions of those values."""
    try:
        return convert(array, target), []
    except MisfitError:
        if len(array) == 1:
            return pa.nulls(1, target), [0]
    half = len(array) // 2
    first, bad_first = convert_or_null(array.slice(0, half), target)
    second, bad_second = convert_or_null(array.slice(half), target)
    return pa.concat_arrays([first, second]), bad_first + [half + position for position in bad_second]


def to_text(array: pa.Array) -> pa.Array:
    """Return the canonical text of every value: ``7``, ``0.5``, ``true``, ISO 8601, compact JSON for what is nested."""
    kind = array.type
    if pa.types.is_floating(kind) or pa.types.is_nested(kind):
        return pa.array([None if value is None else text_of(value) for value in array.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    text = _cast(array, pa.string())
    if not pa.types.is_timestamp(kind):
        return text
    whole_seconds = pc.replace_substring_regex(text, r"\.0+(Z?)$", r"\1")
    return pc.replace_substring_regex(whole_seconds, r"(\.[0-9]*[1-9])0+(Z?)$", r"\1\2")


def text_of(value: Any) -> str:
    """Return the canonical text of a Python value: a string as it is, anything else as compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _observe_item(array: pa.Array) -> pa.DataType:
    # Embeddings are long lists of float32: as float64 they would take twice the space.
    return array.type if pa.types.is_float32(array.type) else observe(array)


def _observe_integers(array: pa.Array) -> pa.DataType:
    limits = pc.min_max(array)
    low, high = limits["min"].as_py(), limits["max"].as_py()
    if low >= -EXACT_FLOAT and high <= EXACT_FLOAT:
        return SMALL_INT
    return pa.int64() if high < 2**63 else pa.string()


def _observe_text(array: pa.Array, text_types: tuple[pa.DataType, ...]) -> pa.DataType:
    values = _without_empty(array).drop_null() if text_types else array
    if not len(values):
        return pa.null()
    for kind in text_types:
        # Most columns are told by their first value, at no cost.
        if _is_written_as(values.slice(0, 1), kind) and _is_written_as(values, kind):
            return _observe_integers(values.cast(kind)) if kind == pa.int64() else kind
    return pa.string()


def _is_written_as(text: pa.Array, kind: pa.DataType) -> bool:
    try:
        _parse(text, kind)
    except MisfitError:
        return False
    return True


def _has_nanoseconds(array: pa.Array) -> bool:
    try:
        array.cast(pa.timestamp("us", array.type.tz))
    except pa.ArrowInvalid:
        return True
    return False


def _same_family(source: pa.DataType, target: pa.DataType) -> bool:
    if pa.types.is_timestamp(source) and pa.types.is_timestamp(target):
        return (source.tz is None) == (target.tz is None)
    tests = (pa.types.is_decimal, pa.types.is_time, pa.types.is_duration, pa.types.is_date, _is_number, _is_binary)
    return any(test(source) and test(target) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _cast(array: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return array.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise MisfitError(str(error)) from error


def _join_decimals(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    scale = max(left.scale, right.scale)
    digits = max(left.precision - left.scale, right.precision - right.scale) + scale
    return pa.decimal128(digits, scale) if digits <= pa.decimal128(38).precision else pa.string()


def _convert_struct(array: pa.Array, target: pa.DataType) -> pa.Array:
    children: dict[str, Any] = dict(zip([item.name for item in array.type], array.flatten(), strict=True))
    wanted = [item.name for item in target]
    for name, child in children.items():
        if name not in wanted and child.null_count < len(child):
            raise MisfitError(f"field {name!r} is not in {target}")
    missing = pa.nulls(len(array))
    columns = [convert(children.get(item.name, missing), item.type) for item in target]
    return pa.StructArray.from_arrays(columns, fields=list(target), mask=array.is_null())


def _without_empty(text: pa.Array) -> pa.Array:
    empty = pc.equal(text, "")
    return pc.if_else(empty, None, text) if pc.any(empty).as_py() else text


def _from_text(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Read text as another type; an empty string is a missing value, as in any table of text."""
    text = _without_empty(array)
    try:
        return _parse(text, target)
    except MisfitError:
        if not pa.types.is_integer(target):
            raise
    # A tool that knows no missing whole number writes all of them as 7.0 once one is missing.
    return _cast(_floats_from_text(text, pa.float64()), target)


def _parse(text: pa.Array, target: pa.DataType) -> pa.Array:
    """Read text as the type whose own way of writing it is.

    :raises MisfitError: when one value is written in another way.
    """
    if pa.types.is_integer(target) or pa.types.is_date(target):
        values = _cast(text, target)
        # "007", "0x1f" and "+7" parse, but say more than the number 7 does.
        if not pc.all(pc.equal(values.cast(pa.string()), text)).as_py():
            raise MisfitError(f"not every value is the plain text of {target}")
        return values
    if pa.types.is_boolean(target):
        known = pc.is_in(text, _BOOLEANS)
        if not pc.all(pc.or_(known, text.is_null())).as_py():
            raise MisfitError("not every value is true or false")
        return pc.if_else(text.is_null(), None, pc.is_in(text, _TRUE))
    if pa.types.is_floating(target):
        return _floats_from_text(text, target)
    if pa.types.is_nested(target):
        return _nested_from_text(text, target)
    if pa.types.is_timestamp(target) and pc.any(pc.less_equal(pc.utf8_length(text), _DATE_LENGTH)).as_py():
        raise MisfitError("a date without a time")
    return _cast(text, target)


def _nested_from_text(text: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        parsed = pa.array([None if value is None else json.loads(value) for value in text.to_pylist()])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MisfitError(str(error)) from error
    if not pa.types.is_nested(parsed.type):
        raise MisfitError(f"not every value is the JSON of {target}")
    return convert(parsed, target)


def _floats_from_text(text: pa.Array, target: pa.DataType) -> pa.Array:
    values = _cast(text, target)
    marked = reduce(pc.or_, [pc.starts_with(text, start) for start in ("0", "-0", "+")])
    if pc.any(pc.match_substring_regex(text.filter(marked), r"^(\+|-?0[0-9])")).as_py():
        raise MisfitError("a number with a sign or zeros in front is a code, not a number")
    exact = pc.less_equal(pc.abs(values), float(EXACT_FLOAT))
    odd = text.filter(pc.invert(exact))
    if len(odd):
        named = pc.is_in(odd, _NO_NUMBERS)
        infinite = pc.invert(pc.is_finite(values.filter(pc.invert(exact))))
        whole = pc.match_substring_regex(odd, r"^-?[0-9]+$")
        if pc.any(pc.or_(whole, pc.and_not(infinite, named))).as_py():
            raise MisfitError("a number has more digits than a float64 holds")
    return values
