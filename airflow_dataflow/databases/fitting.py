"""Values that a column of a database would take, but change: rounded, or cut off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from airflow_dataflow.databases.columns import DAY_MICROSECONDS, MOST_DIGITS
from airflow_dataflow.databases.text import plain_type
from airflow_dataflow.errors import InvalidInputError

Kind = Literal["integer", "decimal", "float32", "float64", "moment", "date", "text"]

_TYPE = re.compile(r"([a-z ]*[a-z])(?:\(([0-9]+)(?:,(-?[0-9]+))?\))?.*")
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"), "integer"),
    **dict.fromkeys(("numeric", "decimal"), "decimal"),
    **dict.fromkeys(("real", "float"), "float32"),
    **dict.fromkeys(("double precision", "double"), "float64"),
    **dict.fromkeys(("time", "timestamp", "datetime"), "moment"),
    "date": "date",
    **dict.fromkeys(("character varying", "varchar", "character", "char"), "text"),
}
_MICROSECOND_DIGITS = 6


@dataclass(frozen=True)
class Room:
    """What a column has room for."""

    sql_type: str
    """The database's name of its type."""
    kind: Kind
    """Kind of the type."""
    digits: int | None = None
    """Digits behind the point or of the second, or characters; ``None`` for any number of them."""

    @classmethod
    def of(cls, sql_type: str, *, second_digits: int) -> Room | None:
        """Return what a type has room for, ``None`` where a database says itself that a value does not fit.

        :param sql_type: e.g. ``numeric(12,2)``, ``timestamp(3) with time zone`` or ``real[]``.
        :param second_digits: digits of the second in a type that names none.
        """
        match = _TYPE.fullmatch(sql_type.lower())
        name = match[1].partition(" with")[0].removesuffix(" unsigned") if match else ""
        kind = _KINDS.get(name)
        if match is None or kind is None:
            return None
        first, second = (None if text is None else int(text) for text in match.groups()[1:])
        if kind == "decimal":
            return cls(sql_type, kind, None if first is None else second or 0)
        if kind == "moment":
            return cls(sql_type, kind, second_digits if first is None else first)
        return cls(sql_type, kind, first if kind == "text" else None)


def rooms(sql_types: Mapping[str, str], *, second_digits: int) -> dict[str, Room]:
    """Return those columns that would change a value without a word, with what they have room for.

    :param sql_types: type of each column.
    :param second_digits: digits of the second in a type that names none.
    """
    found = {name: Room.of(sql_type, second_digits=second_digits) for name, sql_type in sql_types.items()}
    return {name: room for name, room in found.items() if room is not None}


def check_all(batch: pa.RecordBatch, known: Mapping[str, Room]) -> None:
    """Refuse rows with a value that its column would change without a word.

    :param known: what columns have room for.
    :raises InvalidInputError: for the first such value.
    """
    for item, column in zip(batch.schema, batch.columns, strict=True):
        if item.name in known:
            check(column, item.name, known[item.name])


def check(array: pa.Array, name: str, room: Room) -> None:
    """Refuse values that the column would change without a word.

    :param array: values of one batch.
    :param name: name of the column.
    :raises InvalidInputError: for the first such value.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = plain_type(array.type)
    if pa.types.is_list(kind):
        check(array.flatten(), name, room)
        return
    changed = _changed(array.drop_null(), kind, room)
    if changed is not None and pc.any(changed).as_py():
        value = array.drop_null().filter(changed)[0].as_py()
        raise InvalidInputError(
            f"column {name!r} has {value!r}, which {room.sql_type} would change: "
            "make the column wide enough, or convert the values before"
        )


def _changed(array: pa.Array, kind: pa.DataType, room: Room) -> pa.Array | None:
    """Return which values would change, ``None`` when none can."""
    if pa.types.is_decimal(kind) and (room.kind in ("decimal", "integer")):
        return _more_digits(array, kind.scale, room)
    if pa.types.is_floating(kind):
        return _changed_float(array, room)
    if pa.types.is_integer(kind) and room.kind in ("float32", "float64"):
        number = pa.float32() if room.kind == "float32" else pa.float64()
        return _differ(array.cast(pa.decimal128(38, 0)), array.cast(number, safe=False).cast(pa.decimal128(38, 0)))
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return _changed_moment(array, kind, room)
    if pa.types.is_string(kind) and room.kind == "text" and room.digits is not None:
        return pc.greater(pc.utf8_length(array.cast(pa.large_string())), room.digits)
    return None


def _more_digits(array: pa.Array, scale: int, room: Room) -> pa.Array | None:
    digits = 0 if room.kind == "integer" else room.digits
    if digits is None or digits >= scale:
        return None
    wide = array.cast(pa.decimal256(MOST_DIGITS, scale))
    return pc.not_equal(pc.round(wide, ndigits=digits, round_mode="towards_zero"), wide)


def _changed_float(array: pa.Array, room: Room) -> pa.Array | None:
    finite = pc.is_finite(array)
    if room.kind == "float32":
        return pc.and_(finite, _differ(array, array.cast(pa.float32(), safe=False).cast(array.type)))
    if room.kind == "integer":
        return pc.and_(finite, _differ(array, pc.trunc(array)))
    if room.kind == "decimal" and room.digits is not None:
        # What is sent is the shortest text, so its digits count, and not those of the binary number.
        return pc.and_(finite, _differ(array, pc.round(array, ndigits=room.digits, round_mode="half_to_even")))
    return None


def _changed_moment(array: pa.Array, kind: pa.DataType, room: Room) -> pa.Array | None:
    if room.kind == "date" and pa.types.is_timestamp(kind):
        part = DAY_MICROSECONDS
    elif room.kind == "moment" and room.digits is not None and room.digits < _MICROSECOND_DIGITS:
        part = 10 ** (_MICROSECOND_DIGITS - room.digits)
    else:
        return None
    micro = array.cast(pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.time64("us"), safe=False)
    numbers = micro.view(pa.int64())
    return _differ(numbers, pc.multiply(pc.divide(numbers, part), part))


def _differ(left: pa.Array, right: pa.Array) -> pa.Array:
    return pc.not_equal(left, right)
