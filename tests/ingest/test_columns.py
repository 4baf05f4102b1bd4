"""Types of columns: the narrowest that changes no value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from itertools import permutations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.ingest.columns import (
    ANYTHING_IN_TEXT,
    SMALL_INT,
    TIMES_IN_TEXT,
    MisfitError,
    convert,
    convert_or_null,
    join,
    observe,
    settle,
    to_text,
)

US, NS = pa.timestamp("us"), pa.timestamp("ns")
UTC_US = pa.timestamp("us", "UTC")
BIG = "9007199254740993"

TYPES = [
    pa.null(),
    pa.bool_(),
    SMALL_INT,
    pa.int64(),
    pa.float64(),
    pa.string(),
    pa.date32(),
    US,
    NS,
    UTC_US,
    pa.timestamp("ns", "Europe/Berlin"),
    pa.decimal128(5, 2),
    pa.decimal128(38, 10),
    pa.list_(SMALL_INT),
    pa.list_(pa.string()),
    pa.struct([("a", SMALL_INT)]),
    pa.struct([("a", pa.float64()), ("b", pa.string())]),
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", None, ""], SMALL_INT),
        (["1", BIG], pa.int64()),
        (["1", "9223372036854775808"], pa.string()),
        (["007", "8"], pa.string()),
        (["+5", "6"], pa.string()),
        (["1 ", "2"], pa.string()),
        (["0x1F"], pa.string()),
        (["1_000"], pa.string()),
        (["-0"], pa.float64()),
        (["1", "2.5"], pa.float64()),
        (["1e5", ".5", "5.", "-0.25", "1E-3"], pa.float64()),
        (["0.1", "nan", "-inf", "NaN"], pa.float64()),
        (["0", "0.5", "-0.5"], pa.float64()),
        (["0.5", "00.5"], pa.string()),
        (["+4915112345678", "0.5"], pa.string()),
        (["0.5", BIG], pa.string()),
        (["1e999"], pa.string()),
        (["1.5", "n/a"], pa.string()),
        (["true", "False", "TRUE"], pa.bool_()),
        (["true", "0"], pa.string()),
        (["yes"], pa.string()),
        (["2026-11-01", "0001-01-01"], pa.date32()),
        (["2026-02-30"], pa.string()),
        (["2026-11-01", "2026-11-01 10:00"], pa.string()),
        (["2026-11-01 10:00", "2026-11-01T10:00:00.123456"], US),
        (["2026-11-01 10:00:00.123456789"], NS),
        (["9999-12-31 00:00:00"], US),
        (["2026-11-01T10:00:00Z", "2026-11-01 10:00:00+02:00"], UTC_US),
        (["2026-11-01T10:00:00Z", "2026-11-01T10:00:00"], pa.string()),
        (["", None], pa.null()),
    ],
)
def test_text_is_of_the_first_type_that_all_values_are_written_in(values: list[Any], expected: pa.DataType) -> None:
    array = pa.array(values, pa.string())
    observed = observe(array, ANYTHING_IN_TEXT)
    assert observed == expected
    converted = convert(array, settle(observed))
    assert converted.null_count == (
        values.count(None) if expected in (pa.string(), pa.null()) else sum(not v for v in values)
    )


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2**53], pa.int64()), pa.int64()),
        (pa.array([1, 2**53 - 1], pa.uint64()), SMALL_INT),
        (pa.array([2**63], pa.uint64()), pa.string()),
        (pa.array([1.5], pa.float32()), pa.float64()),
        (pa.array([[1.5]], pa.list_(pa.float32())), pa.list_(pa.float32())),
        (pa.array([1_000], NS), US),
        (pa.array([1_001], NS), NS),
        (pa.array([1], pa.timestamp("s", "UTC")), UTC_US),
        (pa.array([None, None], pa.int64()), pa.null()),
        (pa.array([{"a": 1, "b": None}]), pa.struct([("a", SMALL_INT), ("b", pa.null())])),
        (pa.array([[], None]), pa.list_(pa.null())),
        (pa.array(["2026-11-01"]), pa.string()),
    ],
)
def test_typed_values_are_observed(array: pa.Array, expected: pa.DataType) -> None:
    assert observe(array) == expected


def test_strings_of_json_stand_for_times_and_never_for_numbers() -> None:
    assert observe(pa.array(["2026-11-01"]), TIMES_IN_TEXT) == pa.date32()
    assert observe(pa.array(["5"]), TIMES_IN_TEXT) == pa.string()


@pytest.mark.parametrize("kinds", list(permutations([SMALL_INT, pa.int64(), pa.float64()])), ids=str)
def test_large_whole_numbers_and_fractions_have_only_text_in_common_in_any_order(kinds: list[pa.DataType]) -> None:
    assert reduce(join, kinds) == pa.string()


@given(st.sampled_from(TYPES), st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_join_depends_on_neither_order_nor_grouping(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    assert join(a, a) == a
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (SMALL_INT, pa.float64(), pa.float64()),
        (SMALL_INT, pa.string(), pa.string()),
        (pa.bool_(), SMALL_INT, pa.string()),
        (pa.date32(), US, pa.string()),
        (US, UTC_US, pa.string()),
        (US, NS, NS),
        (UTC_US, pa.timestamp("us", "Asia/Tokyo"), UTC_US),
        (pa.decimal128(5, 2), pa.decimal128(10, 4), pa.decimal128(10, 4)),
        (pa.decimal128(38, 0), pa.decimal128(10, 4), pa.string()),
        (pa.list_(SMALL_INT), pa.list_(pa.float64()), pa.list_(pa.float64())),
        (pa.list_(SMALL_INT), SMALL_INT, pa.string()),
        (pa.struct([("a", SMALL_INT)]), pa.struct([("b", US)]), pa.struct([("a", SMALL_INT), ("b", US)])),
        (pa.binary(), pa.string(), pa.string()),
    ],
)
def test_two_types_join_to_the_narrowest_that_holds_both(
    left: pa.DataType, right: pa.DataType, expected: pa.DataType
) -> None:
    assert join(left, right) == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, -5]), ["1", None, "-5"]),
        (pa.array([1.0, 0.1, 1e20, -0.0]), ["1.0", "0.1", "1e+20", "-0.0"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([datetime(2026, 11, 1, 10, 20, 30)]), ["2026-11-01 10:20:30"]),  # noqa: DTZ001 - a type without zone
        (pa.array([datetime(2026, 11, 1, 10, 0, 0, 120000, UTC)], UTC_US), ["2026-11-01 10:00:00.12Z"]),
        (pa.array([0], pa.timestamp("us", "Asia/Tokyo")), ["1970-01-01 00:00:00Z"]),
        (pa.array([{"a": [1, 2.5]}, None]), ['{"a":[1.0,2.5]}', None]),
        (pa.array([["ä", None]]), ['["ä",null]']),
    ],
)
def test_every_value_has_one_text(array: pa.Array, expected: list[str | None]) -> None:
    assert to_text(array).to_pylist() == expected


@pytest.mark.parametrize(
    ("array", "target"),
    [
        (pa.array([2.5]), pa.int64()),
        (pa.array([True]), pa.int64()),
        (pa.array([1]), pa.bool_()),
        (pa.array([1]), US),
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([1_001], NS), US),
        (pa.array([0], US), UTC_US),
        (pa.array([b"\xff"]), pa.string()),
        (pa.array(["2026-11-01"]), US),
        (pa.array(["1.234"]), pa.decimal128(5, 2)),
        (pa.array([[1]]), pa.int64()),
        (pa.array([{"a": 1}]), pa.struct([("b", pa.int64())])),
        (pa.array(["[1"]), pa.list_(pa.int64())),
        (pa.array(["5"]), pa.list_(pa.int64())),
    ],
)
def test_a_value_that_would_change_does_not_fit(array: pa.Array, target: pa.DataType) -> None:
    with pytest.raises(MisfitError):
        convert(array, target)


@pytest.mark.parametrize(
    ("array", "target", "expected"),
    [
        (pa.array([1, None]), pa.float64(), [1.0, None]),
        (pa.array([2.0]), pa.int64(), [2]),
        (pa.array(["5", "", None]), pa.int64(), [5, None, None]),
        (pa.array(["1.0", "2"]), pa.int64(), [1, 2]),
        (pa.array(["1.50"]), pa.decimal128(5, 2), [Decimal("1.50")]),
        (pa.array([Decimal("1.50")]), pa.float64(), [1.5]),
        (pa.array([7]), pa.decimal128(5, 2), [Decimal("7.00")]),
        (pa.array([[1], None, []]), pa.list_(pa.float64()), [[1.0], None, []]),
        (pa.array([[9], [1, 2], None, [3]]).slice(1), pa.list_(pa.string()), [["1", "2"], None, ["3"]]),
        (
            pa.array([{"a": 9}, {"a": 1}, None]).slice(1),
            pa.struct([("b", pa.int64()), ("a", pa.string())]),
            [{"b": None, "a": "1"}, None],
        ),
        (pa.array(['{"a": [1]}', None]), pa.struct([("a", pa.list_(pa.int64()))]), [{"a": [1]}, None]),
        (pa.array([None, None]), pa.list_(pa.int64()), [None, None]),
    ],
)
def test_values_that_fit_are_converted(array: pa.Array, target: pa.DataType, expected: list[Any]) -> None:
    converted = convert(array, target)
    converted.validate(full=True)
    assert converted.type == target
    assert converted.to_pylist() == expected


@given(st.lists(st.sampled_from(["1", "x", "", "2.5", "-7", None]), max_size=60))
def test_misfits_are_found_wherever_they_are(values: list[str | None]) -> None:
    converted, misfits = convert_or_null(pa.array(values, pa.string()), pa.int64())
    assert misfits == [n for n, value in enumerate(values) if value in ("x", "2.5")]
    assert converted.to_pylist() == [int(value) if value in ("1", "-7") else None for value in values]
