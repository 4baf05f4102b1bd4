"""What an engine promises, so that the same cleaning and features run on one machine and on a cluster.

All work on rows is done by *kernels*: functions of one batch, a Polars frame, that keep nothing between batches.
A batch holds the rows of one file in their order, and two more columns, :data:`FILE` and :data:`ROW`, which say where
each row stands. That pair is the order of rows, everywhere; an engine never makes up ids. Because kernels are the same
Polars code on every engine, so are the meanings of a regular expression, a null and a NaN. What differs is only how
keys and numbers come together: :meth:`Frame.quantiles`, :meth:`Frame.first_by` and :meth:`Frame.join`, and none of
them moves a document.

::

    frame = engine.scan(files, columns=["body"]).map_batches(keys)
    repeats = frame.first_by("key")
    written = engine.scan(files).join(repeats, how="left").write(split, draft.create)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import polars as pl
import pyarrow as pa

from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.writing import HashingWriter

FILE = "__file"
"""Column with the number of a row's file: its place in the list given to :meth:`Engine.scan`, from 0."""
ROW = "__row"
"""Column with the number of a row in its file, from 0."""
ORDER = (FILE, ROW)
"""The two columns that name and order rows."""

Kernel = Callable[[pl.DataFrame], pl.DataFrame]
"""A function of one batch. It may drop rows and change columns, but keeps no state; a cluster gets a pickled copy."""

SUMMARY = "__summary"
"""What :data:`Split` gives under this name is no folder: it comes back to the caller."""

Split = Callable[[pl.DataFrame], Mapping[str, pl.DataFrame]]
"""A kernel that deals the rows of one batch out to folders, e.g. ``{"data": accepted, "quarantine": rejected}``."""

Create = Callable[[str], AbstractContextManager[HashingWriter]]
"""Opens a file for writing that appears whole, such as ``VersionDraft.create``."""

How = Literal["left", "inner", "semi", "anti"]


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """One Parquet file to read."""

    directory: Directory
    """Folder that it lies in, on any file system."""
    path: str
    """Path relative to ``directory``."""
    stem: str
    """Name, without a suffix, of the files that are made from it; unique among the files of a scan."""


class Frame(Protocol):
    """Rows that an engine can produce when they are asked for; making one reads nothing."""

    def map_batches(self, kernel: Kernel) -> Frame:
        """Apply ``kernel`` to every batch."""

    def join(self, right: pl.DataFrame, *, on: Sequence[str] = ORDER, how: How = "left") -> Frame:
        """Join with what is known of some rows; the order of rows stays.

        :param right: decisions or keys, never documents; each combination of ``on`` at most once.
        :param on: columns that both have; by default a row is found by its place.
        :param how: ``left`` adds the columns of ``right``, ``inner`` also drops other rows, ``semi`` keeps and
            ``anti`` drops the rows that ``right`` names.
        """

    def quantiles(self, columns: Sequence[str], fractions: Sequence[float]) -> dict[str, list[float] | None]:
        """Return the exact quantiles of numeric columns, by linear interpolation between the two nearest values.

        Nulls, NaN and infinities are left out.

        :param fractions: e.g. ``[0.25, 0.5, 0.75]``.
        :returns: column to its quantiles, ``None`` for a column without any finite value.
        """

    def first_by(self, key: str, *, before: Frame | None = None) -> pl.DataFrame:
        """Find the rows whose key occurs on an earlier row.

        :param key: column to compare; a null key equals none. The other columns travel with it: keep them small.
        :param before: rows that come before all rows of this frame, with the same columns.
        :returns: one row for every such row, in order: :data:`FILE`, :data:`ROW`, and as ``first_<column>`` the
            other columns of the earliest row with that key.
        """

    def collect(self) -> pl.DataFrame:
        """Bring all rows into memory, in order; for keys and counts, not for documents."""

    def persist(self) -> Frame:
        """Compute the rows once and keep them, in order; for keys and numbers, not for documents."""

    def write(self, split: Split, create: Create) -> pl.DataFrame:
        """Write Parquet files: for each input file and each folder that ``split`` names, ``<folder>/<stem>.parquet``.

        A file appears only if it has rows. :data:`FILE` and :data:`ROW` are not written. Equal input gives equal bytes.

        :returns: what ``split`` gave as :data:`SUMMARY` for all batches, e.g. counts; an empty frame if it gave none.
        """


class Engine(Protocol):
    """Reads tables and hands out frames."""

    def schema(self, files: Sequence[TableFile]) -> pa.Schema:
        """Return the columns of all files together, in the order of their first appearance.

        A column that is narrower in one file (integers, where others have floats) gets the wider type;
        one that is text in some file is text.

        :raises CorruptDataError: when a file is no Parquet file.
        """

    def scan(self, files: Sequence[TableFile], columns: Sequence[str] | None = None, *, what: str = "rows") -> Frame:
        """Read tables, every batch with the columns of :meth:`schema`, null where a file lacks one.

        :param files: in the order that rows shall have.
        :param columns: the columns to read, all when ``None``; one that no file has is all null.
        :param what: name of the work in progress reports.
        :raises CorruptDataError: when a file is no Parquet file, or ends too early.
        """
