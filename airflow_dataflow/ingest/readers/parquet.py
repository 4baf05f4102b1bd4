"""Parquet: typed columns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.ingest.columns import text_of
from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, Reader, check_names
from airflow_dataflow.ingest.rejects import Rejects

_BATCH_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_MOST_BATCH_ROWS = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Parquet(Reader):
    """Typed columns; encodings of the same values (dictionaries, large and view strings) become the plain type."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def read(self, file: LocalFile, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """Yield all columns; the row's number, from 1, stands for its line."""
        number = 1
        try:
            with _seekable(file) as source, pq.ParquetFile(source) as parquet:
                check_names(parquet.schema_arrow.names)
                rows = parquet.metadata.num_rows
                row_bytes = sum(_group_bytes(parquet.metadata)) / max(rows, 1)
                size = int(min(max(_BATCH_BYTES / max(row_bytes, 1), 1), _MOST_BATCH_ROWS))
                for batch in parquet.iter_batches(batch_size=size, use_threads=False):
                    lines = pa.array(np.arange(number, number + batch.num_rows))
                    number += batch.num_rows
                    columns = [_plain(column) for column in batch.columns]
                    yield _without_damaged(
                        pa.record_batch([*columns, lines], names=[*batch.schema.names, LINE]), rejects
                    )
                    file.bytes_read = file.path.stat().st_size * (number - 1) // max(rows, 1)
        except RefusedFileError:
            raise
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise RefusedFileError(f"no valid Parquet file ({_first_line(error)}): have it delivered again") from error


@contextmanager
def _seekable(file: LocalFile) -> Iterator[Any]:
    if file.codec is None:
        yield str(file.path)
        return
    with tempfile.TemporaryFile() as plain:
        with file.open() as raw:
            while chunk := raw.read(_CHUNK_BYTES):
                plain.write(chunk)
        plain.seek(0)
        yield plain


def _group_bytes(metadata: pq.FileMetaData) -> Iterator[int]:
    return (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _plain(array: pa.Array) -> pa.Array:
    target = _plain_type(array.type)
    return array if array.type == target else array.cast(target)


def _plain_type(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - one line per kind
    """Return the type of the same values without a special encoding."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_struct(kind):
        return pa.struct([(item.name, _plain_type(item.type)) for item in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def _without_damaged(batch: pa.RecordBatch, rejects: Rejects) -> pa.RecordBatch:
    """Move rows with strings that are not UTF-8, which Parquet does not check, to the quarantine."""
    bad = sorted({position for column in batch.columns for position in _damaged(column)})
    if not bad:
        return batch
    for position in bad:
        *values, line = (column.take(pa.array([position])) for column in batch.columns)
        row = {name: _raw(value) for name, value in zip(batch.schema.names, values, strict=False)}
        broken = next(name for name, value in zip(row, values, strict=True) if _damaged(value))
        rejects.add(line[0].as_py(), "invalid_utf8", f"{broken}={text_of(row[broken])}", text_of(row))
    keep = np.ones(batch.num_rows, dtype=bool)
    keep[bad] = False
    return batch.filter(pa.array(keep))


def _damaged(array: pa.Array, start: int = 0) -> list[int]:
    """Return the positions of values that are not UTF-8."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if len(array) == 1:
            return [start]
        first, second = np.array_split(np.arange(len(array)), 2)
        # A slice of a nested column shares, and would validate, the items of its neighbours; a copy does not.
        return _damaged(array.take(pa.array(first)), start) + _damaged(array.take(pa.array(second)), start + len(first))
    return []


def _raw(array: pa.Array) -> Any:
    if pa.types.is_string(array.type):
        value = array.cast(pa.binary())[0].as_py()
        return value if value is None else value.decode(errors="backslashreplace")
    return "not UTF-8" if _damaged(array) else array[0].as_py()
