"""Values that a column would take, but change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_dataflow.databases.fitting import check_all, rooms
from airflow_dataflow.errors import InvalidInputError

MOMENT = datetime.fromisoformat("1960-01-01T00:00:00.000001")


def refuse(sql_type, array, second_digits=6):
    """Check one column."""
    check_all(pa.record_batch({"c": array}), rooms({"c": sql_type}, second_digits=second_digits))


@pytest.mark.parametrize(
    ("sql_type", "array"),
    [
        ("numeric(10,2)", pa.array([Decimal("1.000"), None, Decimal("1.005")])),
        ("numeric(10,2)", pa.array([1.005])),
        ("numeric(10,0)", pa.array([0.5])),
        ("numeric(8,3)[]", pa.array([[Decimal("1.0005")], None])),
        ("real", pa.array([0.1])),
        ("real", pa.array([2**24 + 1])),
        ("double precision", pa.array([2**53 + 1, None])),
        ("double", pa.array([2**64 - 1], pa.uint64())),
        ("timestamp(0) without time zone", pa.array([MOMENT])),
        ("timestamp(5) with time zone", pa.array([MOMENT.replace(tzinfo=UTC)])),
        ("time(0) without time zone", pa.array([time(0, 0, 0, 1)])),
        ("date", pa.array([MOMENT])),
        ("character varying(3)", pa.array(["abc ", "x"])),
        ("varchar(3)", pa.array(["abc "]).dictionary_encode()),
        ("int(11) unsigned", pa.array([1.5])),
        ("bigint", pa.array([Decimal("1.5")])),
    ],
)
def test_a_value_that_would_change_is_refused(sql_type, array):
    with pytest.raises(InvalidInputError, match=r"column 'c' has .* would change"):
        refuse(sql_type, array)


@pytest.mark.parametrize(
    ("sql_type", "array"),
    [
        ("numeric(10,2)", pa.array([Decimal("1.050"), Decimal("-3.000"), None])),
        ("numeric(10,2)", pa.array([0.1, 1.15, -2.67, float("nan"), 1e15, None])),
        ("numeric", pa.array([Decimal("1.005")])),
        ("decimal(65,30) unsigned", pa.array([Decimal("9" * 38)])),
        ("real", pa.array([0.5, float("nan"), float("-inf"), None])),
        ("real", pa.array([0.1], pa.float32())),
        ("double precision", pa.array([2**53, -5, None])),
        ("timestamp(3) with time zone", pa.array([datetime(1960, 1, 1, 0, 0, 0, 1000, UTC)])),
        ("timestamp without time zone", pa.array([MOMENT])),
        ("time(0) without time zone", pa.array([time(0, 0, 1)], pa.time32("s"))),
        ("date", pa.array([MOMENT.replace(microsecond=0), None])),
        ("date", pa.array([date(1960, 1, 1)])),
        ("character varying(3)", pa.array(["äöü", None])),
        ("text", pa.array(["x" * 999])),
        ("bigint unsigned", pa.array([2.0])),
        ("integer", pa.array([Decimal("1.0"), None])),
        ("uuid", pa.array(["x"])),
        ("integer", pa.nulls(3)),
    ],
)
def test_a_value_that_fits_is_let_through(sql_type, array):
    refuse(sql_type, array)


def test_the_database_says_how_many_digits_a_second_has_where_the_type_does_not():
    refuse("datetime", pa.array([MOMENT]))
    with pytest.raises(InvalidInputError, match="datetime would change"):
        refuse("datetime", pa.array([MOMENT]), second_digits=0)
