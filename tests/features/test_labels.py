from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.features.labels import canonical


@pytest.mark.parametrize(
    ("values", "dtype", "texts"),
    [
        ([1, -2, None], pl.Int32, ["1", "-2", None]),
        ([2**64 - 1], pl.UInt64, ["18446744073709551615"]),
        ([3.0, -0.0, 0.5, None], pl.Float64, ["3", "0", "0.5", None]),
        ([math.nan, math.inf, -math.inf], pl.Float64, [None, None, None]),
        ([0.1, 3.0], pl.Float32, ["0.1", "3"]),
        ([True, False, None], pl.Boolean, ["true", "false", None]),
        (["refund", " two words\n", "", " \t", None], pl.String, ["refund", "two words", None, None, None]),
        (["a", None], pl.Categorical, ["a", None]),
        ([Decimal("2.00"), Decimal("2.50")], pl.Decimal(10, 2), ["2", "2.50"]),
        ([date(2026, 11, 23)], pl.Date, ["2026-11-23"]),
        ([None], pl.Null, [None]),
        ([], pl.Float64, []),
    ],
)
def test_values_have_one_form(values: list[Any], dtype: Any, texts: list[str | None]) -> None:
    assert canonical(pl.Series("label", values, dtype=dtype)).to_list() == texts


@given(st.lists(st.integers(-(2**53) + 1, 2**53 - 1)))
def test_whole_numbers_look_the_same_as_floats_and_as_text(values: list[int]) -> None:
    forms = [canonical(pl.Series("n", values, dtype=kind)) for kind in (pl.Int64, pl.Float64)]
    forms.append(canonical(pl.Series("n", [str(value) for value in values], dtype=pl.String)))
    assert all(form.to_list() == [str(value) for value in values] for form in forms)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_read_back_from_its_form(value: float) -> None:
    assert float(canonical(pl.Series("n", [value])).item()) == value


def test_a_list_is_no_label() -> None:
    with pytest.raises(InvalidInputError, match=r"'tags' holds List\(String\)"):
        canonical(pl.Series("tags", [["a"]]))
