"""Parquet files as batches: opened from any directory, brought to one schema, written with equal bytes every time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.engines.engine import FILE, ORDER, ROW, Create, TableFile
from airflow_dataflow.errors import CorruptDataError, InvalidInputError

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_dataflow.storage.writing import HashingWriter

log = logging.getLogger(__name__)

MAX_BATCH_ROWS = 32_768
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1  # twice as fast as level 3, files a few percent larger

_NARROW = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
_NARROW |= {pa.large_binary(): pa.binary(), pa.binary_view(): pa.binary()}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the common form of an Arrow type: no dictionaries, no 64-bit offsets, no views."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type), field.nullable) for field in kind])
    return _NARROW.get(kind, kind)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return ``schema`` with plain types, every column nullable, and no metadata."""
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return one schema that holds the columns of all; a column whose types do not meet is text."""
    kinds: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in plain_schema(schema):
            known = kinds.get(field.name)
            kinds[field.name] = field.type if known is None else _meet(field.name, known, field.type)
    return pa.schema(list(kinds.items()))


def _meet(name: str, left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if left == right:
        return left
    pair = [pa.schema([("column", left)]), pa.schema([("column", right)])]
    try:
        return plain_type(pa.unify_schemas(pair, promote_options="permissive").field(0).type)
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        log.warning("column %r is %s in one file and %s in another: read as text", name, left, right)
        return pa.string()


@contextmanager
def open_table(file: TableFile) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    :raises CorruptDataError: when it is none, or when what is read inside the block is damaged.
    :raises NotFoundError: when it does not exist.
    """
    with ExitStack() as stack:
        source = stack.enter_context(file.directory.open(file.path))
        try:
            # An own path lets Arrow read ahead without going through Python.
            local = file.directory.is_local and not file.directory.is_packed(file.path)
            yield stack.enter_context(pq.ParquetFile(file.directory.path(file.path) if local else source))
        except (pa.ArrowInvalid, OSError) as error:
            # Arrow says "damaged" with a bare OSError; one with a number or of another type comes from the file system.
            if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
                raise
            raise CorruptDataError(
                f"{file.directory.url}/{file.path} is no whole Parquet file ({error}); make or fetch it again"
            ) from error


def read_batches(file: TableFile, schema: pa.Schema, *, number: int, batch_bytes: int) -> Iterator[pl.DataFrame]:
    """Read a file as frames with the columns of ``schema``, then :data:`FILE` and :data:`ROW`.

    :param number: the file's place in the scan.
    :param batch_bytes: about how much a batch may hold once decoded.
    :returns: the batches; an empty file has one empty batch.
    """
    with open_table(file) as table:
        present = [name for name in schema.names if name in table.schema_arrow.names]
        if file.directory.is_local and not file.directory.is_packed(file.path):
            file.directory.hand_out(file.path, expected_bytes=_stored_bytes(table, present))
        first = 0
        for batch in table.iter_batches(_batch_rows(table, batch_bytes), columns=present):
            yield _numbered(_conform(batch, schema, file.path), number, first)
            first += len(batch)
        if not first:
            yield empty_batch(schema)


def _stored_bytes(table: pq.ParquetFile, names: Sequence[str]) -> int:
    """Return how many bytes of the file hold the columns ``names``."""
    wanted, found = set(names), 0
    for number in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if wanted & {column.path_in_schema, column.path_in_schema.partition(".")[0]}:  # a dot, or a nested column
                found += column.total_compressed_size
    return found


def empty_batch(schema: pa.Schema) -> pl.DataFrame:
    """Return a batch without rows, so that kernels can say which columns they make."""
    nothing = pa.RecordBatch.from_pydict({name: [] for name in schema.names}, schema)
    return _numbered(_conform(nothing, schema, "the source"), 0, 0)


def _numbered(rows: pl.DataFrame, file: int, first: int) -> pl.DataFrame:
    numbers = pl.int_range(first, first + len(rows), dtype=pl.UInt32, eager=True)
    return rows.with_columns(pl.repeat(file, len(rows), dtype=pl.UInt32, eager=True).alias(FILE), numbers.alias(ROW))


def _batch_rows(table: pq.ParquetFile, batch_bytes: int) -> int:
    groups = (table.metadata.row_group(index) for index in range(table.metadata.num_row_groups))
    row_bytes = sum(group.total_byte_size for group in groups) / max(table.metadata.num_rows, 1)
    return max(1, min(MAX_BATCH_ROWS, int(batch_bytes / max(row_bytes, 1))))


def _conform(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pl.DataFrame:
    columns = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        found = pa.nulls(len(batch), field.type) if index < 0 else batch.column(index)
        try:
            # Parquet promises UTF-8, but nobody checks, and Polars relies on it.
            found.validate(full=True)
        except pa.ArrowInvalid as error:
            raise CorruptDataError(f"column {field.name!r} of {where} holds damaged values: {error}") from error
        try:
            columns.append(pl.Series(field.name, found.cast(field.type)))
        except (pa.ArrowException, pl.exceptions.PolarsError, TypeError) as error:
            raise InvalidInputError(
                f"column {field.name!r} of {where} has type {found.type}, which cannot be read as {field.type}: {error}"
            ) from error
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=len(batch))


def to_arrow(rows: pl.DataFrame) -> pa.Table:
    """Return a frame as an Arrow table with plain types."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(plain_schema(table.schema))


class TableWriters:
    """The output files of one input file, each opened at its first row.

    :param stem: name of the files, without suffix.
    :param create: opens a file for writing.
    """

    def __init__(self, stem: str, create: Create) -> None:
        self._stem = stem
        self._create = create
        self._stack = ExitStack()
        self._open: dict[str, tuple[HashingWriter, pq.ParquetWriter]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def write(self, folder: str, rows: pl.DataFrame) -> None:
        """Append ``rows`` to ``<folder>/<stem>.parquet``."""
        if rows.is_empty():
            return
        table = to_arrow(rows.drop(ORDER, strict=False))
        if folder not in self._open:
            target = self._stack.enter_context(self._create(f"{folder}/{self._stem}.parquet"))
            target.rows = 0
            parquet = pq.ParquetWriter(
                target, table.schema, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL
            )
            self._open[folder] = target, self._stack.enter_context(parquet)
        target, parquet = self._open[folder]
        parquet.write_table(table)
        target.rows = (target.rows or 0) + len(rows)
