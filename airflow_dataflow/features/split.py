"""Training, validation and test: a row's side follows from its key alone, so it never changes sides."""

from __future__ import annotations

import numpy as np
import polars as pl
import xxhash

from airflow_dataflow.engines.engine import ORDER
from airflow_dataflow.features.labels import canonical
from airflow_dataflow.recipe import Recipe, Split

SIDES = ("train", "validation", "test")

_FIELD = "\x1f"
_ABSENT = "\0"
_POINTS = float(1 << 53)
_UNUSED_BITS = np.uint64(64 - 53)


def split_of(keys: pl.Series, split: Split) -> pl.Series:
    """Return the side of each row: ``train``, ``validation`` or ``test``.

    A key's place in [0, 1) is the upper 53 bits of XXH3 (64 bits, seed 0) of the salt, a zero byte and the key; the
    sides divide that interval in order. Equal keys are on one side, on every night and whatever else there is.

    :param keys: one text per row, without nulls.
    :param split: shares and salt.
    """
    salt = split.salt.encode() + b"\0"
    hashes = (xxhash.xxh3_64_intdigest(salt + key.encode()) for key in keys)
    places = (np.fromiter(hashes, np.uint64, len(keys)) >> _UNUSED_BITS) / _POINTS
    shares = np.array([split.train, split.validation, split.test])
    bounds = np.cumsum(shares)
    # Rounding must not open a sliver at the end: it belongs to the last side that has a share at all.
    bounds[np.flatnonzero(shares)[-1] :] = 1.0
    sides = np.searchsorted(bounds, places, side="right")
    return pl.Series("split", np.array(SIDES)[sides], dtype=pl.String)


def row_keys(batch: pl.DataFrame, recipe: Recipe) -> pl.Series:
    """Return what decides a row's side: its id; without one its text; without that all its values.

    Rows with equal text and different labels, or copies of one row, therefore never meet across sides.
    """
    content = _content(batch, recipe)
    if recipe.id is None:
        return content
    ids = canonical(batch[recipe.id])
    return ids.zip_with(ids.is_not_null(), content)


def _content(batch: pl.DataFrame, recipe: Recipe) -> pl.Series:
    columns = [recipe.text] if recipe.text else sorted(set(batch.columns) - set(ORDER))
    plain = [name for name in columns if not batch.schema[name].is_nested()]
    values = [pl.col(name).cast(pl.String, strict=False).fill_null(_ABSENT) for name in plain]
    return batch.select(pl.concat_str(values, separator=_FIELD).alias("key")).to_series()
