"""CSV and its relatives: one header line, then rows of text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.ingest.columns import ANYTHING_IN_TEXT
from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.readers import LINE, Reader
from airflow_dataflow.ingest.rejects import Rejects
from airflow_dataflow.ingest.text import DAMAGE, Utf8Stream, check_encoding, readable

MAX_ROW_BYTES = 16 << 20
_SAMPLE_BYTES = 256 << 10
_SNIFFED_ROWS = 50
_DELIMITERS = ",;\t|"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_END = "\U0010fffe"  # a row of these ends the stream; one that a quote swallowed tells that the quote is open


@dataclass(frozen=True, kw_only=True)
class Csv(Reader):
    """Rows of fields between delimiters, quoted as in RFC 4180; an empty field is a missing value, ``""`` is not.

    Lines without any value (empty, or ``,,``) are no rows. All values are read as text; what type a column has is
    decided over the whole of it.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    text_types: ClassVar[tuple[pa.DataType, ...]] = ANYTHING_IN_TEXT

    encoding: str = "utf-8"
    """Python's name of the encoding; a byte order mark in a file wins."""
    delimiter: str | None = None
    """One character; ``None`` finds out which of comma, semicolon, tab and ``|`` a file uses (``.tsv``: tab)."""
    quote: str | None = '"'
    """One character; ``None`` when quotes mean nothing."""

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        for name in ("delimiter", "quote"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or not value.isascii()):
                raise InvalidInputError(f"{name} is {value!r}; it has to be one ASCII character")

    def read(self, file: LocalFile, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """Yield all columns as text."""
        with file.open() as raw:
            stream = Utf8Stream(raw, self.encoding)
            lines_before = _skip_empty_lines(stream)
            names, delimiter = self._header(stream.peek(_SAMPLE_BYTES).decode(errors="ignore"), file)
            stream.end_with(delimiter.join([_END] * len(names)).encode() + b"\n")
            rows = _Rows(stream, len(names), delimiter, rejects, first_line=lines_before + 1)
            options = pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                quote_char=self.quote or False,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=rows.take_invalid,
            )
            try:
                for batch in rows.batches(options):
                    yield pa.record_batch([*batch.columns], names=[*names, LINE])
            except pa.ArrowInvalid as error:
                raise RefusedFileError(rows.explain(error)) from error

    def _header(self, sample: str, file: LocalFile) -> tuple[list[str], str]:
        if "\0" in sample:
            raise RefusedFileError(
                "binary data, no text (it has NUL bytes): is the suffix right? "
                "UTF-16 without a byte order mark needs the reader's option 'encoding'"
            )
        delimiter = self.delimiter or ("\t" if file.suffix == ".tsv" else _sniff(sample, self._parse))
        header = self._parse(sample, delimiter, 1)
        if not header:
            raise RefusedFileError("there is no header line: is it empty, or no CSV file at all?")
        names = [name.strip() for name in header[0]]
        if any(DAMAGE in name or _CONTROL.search(name) for name in names):
            raise RefusedFileError(
                f"the header is no text in {self.encoding}: {readable(sample.splitlines()[0])!r:.80}; "
                "set the reader's option 'encoding', or is it no CSV file at all?"
            )
        return names, delimiter

    def _parse(self, sample: str, delimiter: str, count: int) -> list[list[str]]:
        text = io.StringIO(sample, newline="")
        if self.quote is None:
            reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(text, delimiter=delimiter, quotechar=self.quote)
        rows: list[list[str]] = []
        # A field may be longer than Python's csv module takes; the rows before it tell enough.
        with suppress(csv.Error):
            rows.extend(row for row, _ in zip(reader, range(count), strict=False))
        return rows


def _skip_empty_lines(stream: Utf8Stream) -> int:
    lines = 0
    while (head := stream.peek(2)) and head[:1] in b"\r\n":
        stream.read(2 if head == b"\r\n" else 1)
        lines += 1
    return lines


def _sniff(sample: str, parse: Any) -> str:
    """Return the delimiter with which most of the first rows have as many fields as the header has."""
    best, best_score = ",", (0, 0)
    for delimiter in _DELIMITERS:
        rows = parse(sample, delimiter, _SNIFFED_ROWS)
        width = len(rows[0]) if rows else 0
        score = (sum(len(row) == width for row in rows), width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best


class _Rows:
    """Rows as Arrow's parser gives them, with the lines at which they start."""

    def __init__(self, stream: Utf8Stream, width: int, delimiter: str, rejects: Rejects, first_line: int) -> None:
        self._stream = stream
        self._width = width
        self._delimiter = delimiter
        self._rejects = rejects
        self._record = 1
        self._line = first_line
        self._last = first_line
        self._invalid: list[Any] = []

    def take_invalid(self, row: Any) -> str:
        """Remember a row with too many or too few fields."""
        self._invalid.append(row)
        return "skip"

    def explain(self, error: Exception) -> str:
        """Return the reason for a file that the parser gave up on."""
        if "straddling" in str(error):
            return (
                f"a row at or after line {self._line} is longer than {MAX_ROW_BYTES:,} bytes: "
                "is a quote never closed? With the reader's option 'quote' null, quotes mean nothing"
            )
        if "cannot infer number of columns" in str(error):
            return "a quote in the header is never closed: repair the file"
        return f"no CSV ({error})"

    def batches(self, options: pyarrow.csv.ParseOptions) -> Iterator[pa.RecordBatch]:
        """Yield the rows after the header, the last column being their lines."""
        fields = [f"f{number}" for number in range(self._width)]
        reader = pyarrow.csv.open_csv(
            self._stream,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=MAX_ROW_BYTES, autogenerate_column_names=True
            ),
            parse_options=options,
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(fields, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        if reader.schema.names != fields:
            raise RefusedFileError(f"its header has {self._width} or {len(reader.schema)} fields: check its quotes")
        ended, skip = False, 1
        for batch in reader:
            lines = self._lines(batch)
            rows = pa.record_batch([*batch.columns, lines], names=[*fields, LINE]).slice(skip)
            skip = 0
            if rows.num_rows and rows.column(0)[-1].as_py() == _END:
                ended = True
                rows = rows.slice(0, rows.num_rows - 1)
            yield self._without_damaged(_without_empty(rows))
        if not ended:
            raise RefusedFileError(
                f"a quote in the row at line {self._last} is never closed: repair the file, "
                "or read it with the reader's option 'quote' null"
            )

    def _lines(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the line of each row, and hand over the invalid rows that lie between them."""
        count = batch.num_rows
        numbers = np.arange(self._record, self._record + count + len(self._invalid))
        invalid = np.isin(numbers, [row.number for row in self._invalid])
        valid_positions = np.flatnonzero(~invalid)
        used = int(valid_positions[count]) if len(valid_positions) > count else len(numbers)
        valid_positions = valid_positions[:count]
        extra = np.ones(used, dtype=np.int64)
        for column in batch.columns:
            # Looking for one newline in the whole buffer is ten times as fast as counting them value by value.
            text = column.buffers()[2]
            if text is not None and b"\n" in text.to_pybytes():
                extra[valid_positions] += pc.count_substring(column, "\n").fill_null(0).to_numpy()
        passed = [row for row in self._invalid if row.number < self._record + used]
        for row in passed:
            extra[row.number - self._record] += row.text.count("\n")
        lines = self._line + np.cumsum(extra) - extra
        for row in passed:
            self._reject_invalid(row, int(lines[row.number - self._record]))
        if len(lines):
            self._last = int(lines[-1])
        self._invalid = self._invalid[len(passed) :]
        self._record += used
        self._line += int(extra.sum())
        return pa.array(lines[valid_positions])

    def _reject_invalid(self, row: Any, line: int) -> None:
        value = f"{row.actual_columns} fields, expected {row.expected_columns}"
        self._rejects.add(line, "malformed_row", value, readable(row.text))

    def _without_damaged(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if not self._stream.damaged:
            return rows
        bad = reduce(pc.or_, [_is_damaged(column) for column in rows.columns[:-1]])
        for row in rows.filter(bad).to_pylist():
            *values, line = row.values()
            raw = self._delimiter.join(readable(value or "") for value in values)
            broken = next(readable(value) for value in values if value and DAMAGE in value)
            self._rejects.add(line, "invalid_utf8", broken, raw)
        return rows.filter(pc.invert(bad))


def _is_damaged(column: pa.Array) -> pa.Array:
    return pc.fill_null(pc.match_substring(column, DAMAGE), pa.scalar(value=False))


def _without_empty(rows: pa.RecordBatch) -> pa.RecordBatch:
    if not rows.num_rows or any(column.null_count == 0 for column in rows.columns[:-1]):
        return rows
    return rows.filter(reduce(pc.or_, [column.is_valid() for column in rows.columns[:-1]]))
