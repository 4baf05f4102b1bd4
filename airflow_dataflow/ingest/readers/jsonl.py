"""JSON Lines: one object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from airflow_dataflow.ingest.columns import EXACT_FLOAT, TIMES_IN_TEXT, settle
from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, Reader
from airflow_dataflow.ingest.rejects import Rejects
from airflow_dataflow.ingest.text import DAMAGE, Utf8Stream, check_encoding, readable
from airflow_dataflow.ingest.values import MAX_DEPTH, depth_of, fit, type_of_all

MAX_LINE_BYTES = 256 << 20
_BLOCK_BYTES = 8 << 20
_DEEP_LINE_BYTES = 4096  # a line with fewer bytes cannot nest deep enough to overflow the stack of Arrow's parser
_DEEP_BRACKETS = 1024
_ARRAY = "a JSON array, no JSON Lines: write one object per line, without '[' and commas"


@dataclass(frozen=True, kw_only=True)
class Jsonl(Reader):
    """One JSON object per line; empty lines are skipped.

    A block of lines goes through Arrow's parser; one that it refuses, or where it would round a number, is read line
    by line, and only lines that are no JSON object are lost to the quarantine.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    text_types: ClassVar[tuple[pa.DataType, ...]] = TIMES_IN_TEXT

    encoding: str = "utf-8"
    """Python's name of the encoding; a byte order mark in a file wins."""

    def __post_init__(self) -> None:
        check_encoding(self.encoding)

    def read(self, file: LocalFile, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """Yield the objects' members as columns."""
        with file.open() as raw:
            stream = Utf8Stream(raw, self.encoding)
            if b"\0" in stream.peek(_BLOCK_BYTES):
                raise RefusedFileError("binary data, no text (it has NUL bytes): is the suffix right?")
            known: dict[str, pa.DataType] = {}
            first, _, _ = stream.peek(_BLOCK_BYTES).lstrip().partition(b"\n")
            is_array = first.startswith(b"[")
            if is_array and not first.rstrip().endswith(b"]"):
                raise RefusedFileError(_ARRAY)
            first_line, accepted = 1, 0
            for block in _blocks(stream):
                lines = block.split(b"\n")
                batch = _read_fast(block, lines, known) if not (stream.damaged and DAMAGE.encode() in block) else None
                if batch is None:
                    batch = _read_carefully(lines, first_line, rejects, known)
                else:
                    batch = _with_lines(batch, [first_line + n for n, line in enumerate(lines) if line.strip()])
                accepted += batch.num_rows
                first_line += len(lines) - 1
                yield batch
            if not accepted and is_array:
                raise RefusedFileError(_ARRAY)
            if not accepted and not rejects.counts:
                raise RefusedFileError("it has no content: not one line is a JSON object")


def _blocks(stream: Utf8Stream) -> Iterator[bytes]:
    """Yield whole lines, each ended, in blocks of a few megabytes."""
    rest = b""
    while data := stream.read(_BLOCK_BYTES):
        whole, newline, tail = data.rpartition(b"\n")
        if not newline:
            rest += tail
            if len(rest) > MAX_LINE_BYTES:
                raise RefusedFileError(f"a line is longer than {MAX_LINE_BYTES:,} bytes: is it JSON Lines at all?")
            continue
        yield rest + whole + newline
        rest = tail
    if rest:
        yield rest + b"\n"


def _read_fast(block: bytes, lines: list[bytes], known: dict[str, pa.DataType]) -> pa.RecordBatch | None:
    """Parse a block at once; ``None`` when it needs care.

    :param known: columns that Arrow takes for times, read as text since; grows from block to block.
    """
    if any(len(line) > _DEEP_LINE_BYTES and line.count(b"{") + line.count(b"[") > _DEEP_BRACKETS for line in lines):
        return None
    table = _parse(block, known)
    if table is None:
        return None
    times = {item.name: _as_text(item.type) for item in table.schema if _as_text(item.type) != item.type}
    if times:
        names = table.schema.names
        known.update(times)
        table = _parse(block, known)
        table = table and table.select(names)  # Arrow puts the columns that it was told of first
    if table is None or _rounds(table) or table.num_rows != sum(line.lstrip().startswith(b"{") for line in lines):
        return None
    return table.combine_chunks().to_batches()[0] if table.num_rows else None


def _parse(block: bytes, known: dict[str, pa.DataType]) -> pa.Table | None:
    try:
        return pyarrow.json.read_json(
            pa.BufferReader(block),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema(list(known.items()))),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError):
        return None


def _as_text(kind: pa.DataType) -> pa.DataType:
    """Return the type in which the text of a time is still there."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(item.name, _as_text(item.type)) for item in kind])
    return kind


def _rounds(table: pa.Table) -> bool:
    """Tell whether a number may have been rounded: Arrow reads large whole numbers as floating point."""
    return any(
        _has_large_float(chunk) or _depth(chunk.type) > MAX_DEPTH for column in table.columns for chunk in column.chunks
    )


def _has_large_float(array: pa.Array) -> bool:
    if pa.types.is_floating(array.type):
        return bool(pc.any(pc.greater(pc.abs(array), float(EXACT_FLOAT))).as_py())
    if pa.types.is_struct(array.type):
        return any(_has_large_float(child) for child in array.flatten())
    return pa.types.is_list(array.type) and _has_large_float(array.flatten())


def _depth(kind: pa.DataType) -> int:
    if pa.types.is_nested(kind):
        return 1 + max((_depth(kind.field(number).type) for number in range(kind.num_fields)), default=0)
    return 0


def _with_lines(batch: pa.RecordBatch, numbers: list[int]) -> pa.RecordBatch:
    return pa.record_batch([*batch.columns, pa.array(numbers, pa.int64())], names=[*batch.schema.names, LINE])


def _read_carefully(
    lines: list[bytes], first_line: int, rejects: Rejects, known: dict[str, pa.DataType]
) -> pa.RecordBatch:
    """Parse line by line; what is no JSON object goes to ``rejects``."""
    good: list[tuple[int, bytes, dict[str, Any]]] = []
    for number, line in enumerate(lines, first_line):
        if not line.strip():
            continue
        text = line.decode().rstrip("\r")
        row, reason, value = _parse_line(text)
        if row is None:
            rejects.add(number, reason, value, readable(text))
        else:
            good.append((number, line, row))
    numbers = [number for number, _, _ in good]
    cleaned = [line for _, line, _ in good]
    batch = _read_fast(b"".join(line + b"\n" for line in cleaned), cleaned, known)
    if batch is None:
        rows = [row for _, _, row in good]
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: _column([row.get(name) for row in rows]) for name in names}
        batch = pa.record_batch(list(columns.values()), names=list(columns))
    return _with_lines(batch, numbers)


def _column(values: list[Any]) -> pa.Array:
    observed = type_of_all(values)
    target = observed if pa.types.is_null(observed) else settle(observed)
    return pa.array([fit(value, target) for value in values], target)


def _parse_line(text: str) -> tuple[dict[str, Any] | None, str, str]:  # noqa: PLR0911 - one line per reason
    """Return the object, or ``None`` with reason and value."""
    if DAMAGE in text:
        return None, "invalid_utf8", readable(text[max(0, text.index(DAMAGE) - 20) :][:60])
    try:
        row = _DECODER.decode(text)
        if not isinstance(row, dict):
            return None, "not_an_object", type(row).__name__
        if text.count("[") + text.count("{") > MAX_DEPTH and depth_of(row) > MAX_DEPTH:
            return None, "invalid_json", f"nested deeper than {MAX_DEPTH} levels"
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()
    except RecursionError:
        return None, "invalid_json", f"nested deeper than {MAX_DEPTH} levels"
    except UnicodeEncodeError:
        return None, "invalid_utf8", "half of a surrogate pair, such as \\ud800"
    except ValueError as error:
        return None, "invalid_json", str(error)
    return row, "", ""


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is larger than any float64")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice in one object")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite)
