"""Values as text: the one form in which labels, row ids and split keys are compared."""

from __future__ import annotations

import polars as pl

from airflow_dataflow.errors import InvalidInputError

_EXACT_INTEGERS = float(1 << 53)


def canonical(series: pl.Series) -> pl.Series:
    """Return the values as text, so that equal values of different types look the same; null where there is none.

    Whole numbers have no decimal point, whatever their type (``3`` and ``3.0`` are ``"3"``), truth values are
    ``"true"`` and ``"false"``, text loses white space at both ends. Null, NaN, infinities and empty text are null.

    :raises InvalidInputError: when the values are lists, structs or other things without such a form.
    """
    dtype = series.dtype
    if dtype.is_float():
        return _whole_or_text(series)
    if dtype.is_decimal():
        return series.cast(pl.String).str.replace(r"\.0+$", "")
    if dtype.is_integer() or dtype.is_temporal() or isinstance(dtype, pl.Boolean | pl.Null):
        return series.cast(pl.String)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        text = series.cast(pl.String).str.strip_chars()
        return text.set(text == "", None)
    raise InvalidInputError(
        f"column {series.name!r} holds {dtype}, which cannot name a row or a class; use a column of text, numbers, "
        "dates or truth values"
    )


def _whole_or_text(series: pl.Series) -> pl.Series:
    number = pl.col(series.name)
    whole = (number == number.round()) & (number.abs() < _EXACT_INTEGERS)
    integer = number.cast(pl.Int64, strict=False).cast(pl.String)
    text = pl.when(number.is_finite()).then(pl.when(whole).then(integer).otherwise(number.cast(pl.String)))
    return series.to_frame().select(text.alias(series.name)).to_series()
