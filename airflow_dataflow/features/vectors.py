"""Sparse vectors as columns, in the layout that Spark ML's ``VectorUDT`` stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

_INDICES = pa.list_(pa.int32())
_VALUES = pa.list_(pa.float64())
_SPARSE = 0


def sparse_vectors(
    name: str,
    size: int,
    offsets: np.ndarray[Any, np.dtype[np.int32]],
    indices: np.ndarray[Any, np.dtype[np.int32]],
    values: np.ndarray[Any, np.dtype[np.float64]],
) -> pl.Series:
    """Return one sparse vector per row, from the three arrays of a compressed sparse row matrix.

    :param name: name of the column.
    :param size: length of each vector.
    :param offsets: where each row starts in ``indices`` and ``values``, and the end of the last.
    :param indices: places of the values; they rise strictly within a row.
    :param values: the values.
    :returns: structs of ``type`` (0, which means sparse), ``size``, ``indices`` and ``values``.
    """
    rows = len(offsets) - 1
    vectors = pa.StructArray.from_arrays(
        [
            pa.array(np.full(rows, _SPARSE, np.int8)),
            pa.array(np.full(rows, size, np.int32)),
            pa.ListArray.from_arrays(offsets, indices, type=_INDICES),
            pa.ListArray.from_arrays(offsets, values, type=_VALUES),
        ],
        names=["type", "size", "indices", "values"],
    )
    return pl.Series(name, vectors)
