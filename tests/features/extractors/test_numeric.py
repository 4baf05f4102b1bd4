from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler, StandardScaler

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.features.extractors.numeric import Numeric

Scaling = Literal["standard", "robust"]
SCALINGS: tuple[Scaling, ...] = ("standard", "robust")
VALUES = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False)), min_size=1, max_size=30)


def frame(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=False)


def scaled(extractor: Numeric, *batches: pl.DataFrame) -> pl.DataFrame:
    state = extractor.fit(extractor.merge([extractor.summarise(batch) for batch in batches]))
    return extractor.transform(pl.concat(batches), state)


@pytest.mark.parametrize(
    ("scaling", "expected"), [("standard", [-1.5, -0.5, 0.5, 1.5]), ("robust", [-1, -1 / 3, 1 / 3, 1])]
)
def test_golden_numbers(scaling: Scaling, expected: list[float]) -> None:
    deviation = math.sqrt(1.25)
    factor = 1 / deviation if scaling == "standard" else 1
    found = scaled(Numeric(columns=("n",), scaling=scaling), frame(n=[1, 2]), frame(n=[3, 4]))
    assert found["n"].to_list() == pytest.approx([value * factor for value in expected])


@pytest.mark.parametrize("scaling", SCALINGS)
@given(values=VALUES, cut=st.integers(1, 30))
def test_values_are_those_of_scikit_learn(scaling: Scaling, values: list[float | None], cut: int) -> None:
    batches = [
        pl.DataFrame({"n": values[at : at + cut]}, schema={"n": pl.Float64}) for at in range(0, len(values), cut)
    ]
    found = scaled(Numeric(columns=("n",), scaling=scaling), *batches).to_numpy().ravel()
    column = np.array([[math.nan if value is None else value] for value in values])
    present = ~np.isnan(column).ravel()
    assert (found[~present] == 0).all()
    assert np.isfinite(found).all()
    if present.any() and np.ptp(column[present]) > 1e-3:
        reference = StandardScaler() if scaling == "standard" else RobustScaler()
        expected = reference.fit(column[present]).transform(column[present]).ravel()
        np.testing.assert_allclose(found[present], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_values_that_are_no_usable_number_count_as_missing(scaling: Scaling) -> None:
    extractor = Numeric(columns=("n",), scaling=scaling, missing_indicator=True)
    found = scaled(extractor, frame(n=[1.0, 3.0, None, math.nan, math.inf, -math.inf, 1e200]))
    assert found["n"].to_list()[2:] == [0.0] * 5
    assert found["n_missing"].to_list() == [0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("values", [[None, None], [7], [0.1] * 9], ids=["absent", "single", "constant"])
def test_a_column_without_spread_becomes_zero(scaling: Scaling, values: list[float | None]) -> None:
    batches = [pl.DataFrame({"n": [value]}, schema={"n": pl.Float64}) for value in values]
    assert scaled(Numeric(columns=("n",), scaling=scaling), *batches)["n"].to_list() == pytest.approx([0] * len(values))


def test_truth_values_decimals_and_empty_columns_are_numbers() -> None:
    batch = pl.DataFrame({"b": [True, False], "d": [Decimal("1.5"), Decimal("2.5")], "x": [None, None]})
    found = scaled(Numeric(columns=("b", "d", "x")), batch)
    assert found.to_dict(as_series=False) == {"b": [1, -1], "d": [-1, 1], "x": [0, 0]}


def test_text_is_no_number() -> None:
    with pytest.raises(InvalidInputError, match="'n' holds String, not numbers"):
        Numeric(columns=("n",)).summarise(frame(n=["12"]))
