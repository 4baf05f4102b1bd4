"""Types of MySQL and MariaDB in Arrow, told by what the server says of each column of a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from airflow_dataflow.databases.columns import Column, Convert, MisfitError, as_it_is, decimal_type, from_text
from airflow_dataflow.errors import UnsupportedError

_UNSIGNED, _ENUM, _SET = 32, 256, 2048
_BINARY = 63  # the "character set" of bytes
_BYTES_OF_CHARACTER = 4
_INTEGERS = {
    1: ("tinyint", pa.int8(), pa.uint8()),
    2: ("smallint", pa.int16(), pa.uint16()),
    9: ("mediumint", pa.int32(), pa.uint32()),
    3: ("int", pa.int32(), pa.uint32()),
    8: ("bigint", pa.int64(), pa.uint64()),
}
_DECIMALS = (0, 246)
_FLOAT, _DOUBLE, _NULL, _YEAR, _BIT, _JSON = 4, 5, 6, 13, 16, 245
_DATE, _TIME, _DATETIME, _TIMESTAMP = 10, 11, 12, 7
_FIXED, _LONG = 254, (249, 250, 251, 252)
_TEXTS_AND_BYTES = (253, _FIXED, _JSON, *_LONG)
_TEXTS = ((65_535, ""), (16_777_215, "medium"), (2**32, "long"))
_MOST_VARCHAR = 16_383


@dataclass(frozen=True, kw_only=True)
class MysqlType:
    """What the server says of a column."""

    code: int
    """Number of the type in the protocol."""
    flags: int
    """Bits such as that of UNSIGNED."""
    charset: int
    """Number of the collation; that of bytes is 63."""
    length: int
    """Most bytes of its text."""
    scale: int
    """Digits behind the point, or of the second."""

    @property
    def is_unsigned(self) -> bool:
        """Whether it has no negative values."""
        return bool(self.flags & _UNSIGNED)

    @property
    def is_binary(self) -> bool:
        """Whether it holds bytes."""
        return self.charset == _BINARY


@dataclass(frozen=True)
class _Plan:
    type: pa.DataType
    sql_type: str
    convert: Convert | None = None
    cast: str = ""


def column_of(name: str, kind: MysqlType, quoted: str) -> Column:
    """Return how a column is read.

    :param name: its name.
    :param kind: what the server says of it.
    :param quoted: its name as an identifier.
    :raises UnsupportedError: for a type without an equal in Arrow.
    """
    plan = _plan(name, kind, quoted)
    expression = f"CAST({quoted} AS {plan.cast})" if plan.cast else quoted
    convert = plan.convert or _text_to(plan.type)
    return Column(name=name, type=plan.type, sql_type=plan.sql_type, expressions=(expression,), convert=convert)


def _plan(name: str, kind: MysqlType, quoted: str) -> _Plan:
    if kind.code in _INTEGERS:
        word, signed, unsigned = _INTEGERS[kind.code]
        target = unsigned if kind.is_unsigned else signed
        return _Plan(target, f"{word} unsigned" if kind.is_unsigned else word, _text_to(target))
    if kind.code in _DECIMALS:
        digits = kind.length - (kind.scale > 0) - (not kind.is_unsigned)
        target = decimal_type(digits, kind.scale)
        return _Plan(target, f"decimal({digits},{kind.scale})", _text_to(target))
    if kind.code == _BIT:
        plan = _Plan(pa.bool_(), "bit(1)", _bit) if kind.length == 1 else _Plan(pa.uint64(), "bit({length})")
        return replace(plan, sql_type=plan.sql_type.format(length=kind.length), cast="UNSIGNED")
    if kind.code in _PLANS:
        return replace(_PLANS[kind.code], sql_type=_PLANS[kind.code].sql_type.format(scale=kind.scale))
    if kind.code in _TEXTS_AND_BYTES:
        if kind.is_binary and kind.code != _JSON:
            return _Plan(pa.binary(), _bytes_type(kind), as_it_is)
        return _Plan(pa.string(), _text_type(kind))
    raise UnsupportedError(
        f"column {name!r} has a type (number {kind.code}) without an equal in Arrow: "
        f"select it in a query, cast to one that has, e.g. SELECT ST_AsText({quoted}) AS {quoted}"
    )


def _text_type(kind: MysqlType) -> str:
    if kind.code == _JSON:
        return "json"
    characters = kind.length // _BYTES_OF_CHARACTER
    if kind.code in _LONG or characters > _MOST_VARCHAR:
        return f"{next(word for most, word in _TEXTS if characters <= most)}text"
    return f"{'char' if kind.code == _FIXED and not kind.flags & (_ENUM | _SET) else 'varchar'}({max(characters, 1)})"


def _bytes_type(kind: MysqlType) -> str:
    if kind.code in _LONG:
        return f"{next(word for most, word in _TEXTS if kind.length <= most)}blob"
    return f"{'binary' if kind.code == _FIXED else 'varbinary'}({max(kind.length, 1)})"


def _text_to(target: pa.DataType) -> Convert:
    parse = from_text(target)

    def convert(arrays: Sequence[pa.Array]) -> pa.Array:
        try:
            text = arrays[0].cast(pa.string())
        except pa.ArrowInvalid as error:
            raise MisfitError("invalid_utf8", repr(arrays[0][0].as_py())) from error
        return text if pa.types.is_string(target) else parse([text])

    return convert


_PARSE_DOUBLE, _PARSE_TIME, _PARSE_UNSIGNED = (
    _text_to(kind) for kind in (pa.float64(), pa.timestamp("us"), pa.uint64())
)


def _float32(arrays: Sequence[pa.Array]) -> pa.Array:
    return _PARSE_DOUBLE(arrays).cast(pa.float32(), safe=False)


def _bit(arrays: Sequence[pa.Array]) -> pa.Array:
    return pc.not_equal(_PARSE_UNSIGNED(arrays), 0)


def _clock(arrays: Sequence[pa.Array]) -> pa.Array:
    """Read a time of the day; the durations and negative times that the type also holds are none."""
    text = arrays[0].cast(pa.string())
    moments = pc.binary_join_element_wise("1970-01-01", text, " ").cast(pa.binary())
    try:
        return _PARSE_TIME([moments]).view(pa.int64()).view(pa.time64("us"))
    except MisfitError as error:
        raise MisfitError("out_of_range", repr(text[0].as_py())) from error


def _in_utc(arrays: Sequence[pa.Array]) -> pa.Array:
    return pc.assume_timezone(_PARSE_TIME(arrays), "UTC")


_PLANS = {
    # A float is sent with six digits; all of them only come as a double.
    _FLOAT: _Plan(pa.float32(), "float", _float32, "DOUBLE"),
    _DOUBLE: _Plan(pa.float64(), "double"),
    _NULL: _Plan(pa.string(), "text"),
    _YEAR: _Plan(pa.int16(), "year"),
    _DATE: _Plan(pa.date32(), "date"),
    _TIME: _Plan(pa.time64("us"), "time({scale})", _clock),
    _DATETIME: _Plan(pa.timestamp("us"), "datetime({scale})"),
    _TIMESTAMP: _Plan(pa.timestamp("us", "UTC"), "timestamp({scale})", _in_utc),
}
