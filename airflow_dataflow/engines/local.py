"""The engine of one machine: Polars on Arrow batches, one batch in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import polars as pl
import pyarrow as pa

from airflow_dataflow.engines.engine import FILE, ORDER, ROW, SUMMARY, Create, Frame, How, Kernel, Split, TableFile
from airflow_dataflow.engines.tables import TableWriters, empty_batch, open_table, read_batches, unify
from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.progress import Progress, no_progress

BATCH_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """Runs kernels in this process."""

    batch_bytes: int = BATCH_BYTES
    """About how much a batch may hold once decoded, in bytes; results do not depend on it."""
    progress: Progress = no_progress
    """Is told the rows read so far."""

    def schema(self, files: Sequence[TableFile]) -> pa.Schema:
        """See :meth:`~airflow_dataflow.engines.engine.Engine.schema`."""
        return self._footers(files)[0]

    def scan(self, files: Sequence[TableFile], columns: Sequence[str] | None = None, *, what: str = "rows") -> Frame:
        """See :meth:`~airflow_dataflow.engines.engine.Engine.scan`."""
        schema, total = self._footers(files)
        if columns is not None:
            kinds = dict(zip(schema.names, schema.types, strict=True))
            schema = pa.schema([(name, kinds.get(name, pa.null())) for name in dict.fromkeys(columns)])
        return LocalFrame(files=tuple(files), read=partial(self._read, tuple(files), schema, total, what))

    @staticmethod
    def _footers(files: Sequence[TableFile]) -> tuple[pa.Schema, int]:
        schemas, rows = [], 0
        for file in files:
            with open_table(file) as table:
                schemas.append(table.schema_arrow)
                rows += table.metadata.num_rows
        schema = unify(schemas)
        for name in ORDER:
            if name in schema.names:
                raise InvalidInputError(f"column {name!r} has a reserved name; rename it")
        return schema, rows

    def _read(self, files: Sequence[TableFile], schema: pa.Schema, total: int, what: str) -> Iterator[pl.DataFrame]:
        if not files:
            yield empty_batch(schema)
        done = 0
        for number, file in enumerate(files):
            for batch in read_batches(file, schema, number=number, batch_bytes=self.batch_bytes):
                yield batch
                done += len(batch)
                self.progress(what, done, total, "rows")


@dataclass(frozen=True, kw_only=True)
class LocalFrame:
    """Batches that are read again each time they are asked for, and the kernels they go through."""

    files: tuple[TableFile, ...]
    """The files that are read."""
    read: Callable[[], Iterator[pl.DataFrame]]
    """Reads them."""
    kernels: tuple[Kernel, ...] = ()
    """What each batch goes through, in order."""

    def batches(self) -> Iterator[pl.DataFrame]:
        """Produce the batches, in order; some may be empty."""
        for batch in self.read():
            rows = batch
            for kernel in self.kernels:
                rows = kernel(rows)
            yield rows

    def map_batches(self, kernel: Kernel) -> LocalFrame:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.map_batches`."""
        return replace(self, kernels=(*self.kernels, kernel))

    def join(self, right: pl.DataFrame, *, on: Sequence[str] = ORDER, how: How = "left") -> LocalFrame:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.join`."""
        if tuple(on) == ORDER:
            return self.map_batches(_JoinByOrder(right, how))
        return self.map_batches(lambda rows: rows.join(right, on=on, how=how, maintain_order="left"))

    def quantiles(self, columns: Sequence[str], fractions: Sequence[float]) -> dict[str, list[float] | None]:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.quantiles`."""
        values = self.map_batches(lambda rows: rows.select(pl.col(columns).cast(pl.Float64))).collect()
        found: dict[str, list[float] | None] = {}
        for column in columns:
            finite = values[column].filter(values[column].is_finite()).sort()
            found[column] = [_quantile(finite, fraction) for fraction in fractions] if len(finite) else None
        return found

    def first_by(self, key: str, *, before: Frame | None = None) -> pl.DataFrame:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.first_by`."""
        rows = self.collect()
        if before is not None:
            # Only keys of this frame can repeat, so the earlier ones never have to be in memory all at once.
            own = rows.select(pl.col(key).unique())
            earlier = before.join(own, on=[key], how="semi").collect()
            rows = pl.concat(
                [earlier.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in ORDER), rows]
            )
        firsts = rows.filter(pl.col(key).is_not_null()).unique(key, keep="first", maintain_order=True)
        firsts = firsts.rename({name: f"first_{name}" for name in rows.columns if name != key})
        repeats = rows.filter(pl.col(FILE).is_not_null()).join(firsts, on=key, how="inner", maintain_order="left")
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"first_{name}")) for name in ORDER)
        return repeats.filter(~same).select(*ORDER, pl.col("^first_.*$").exclude([f"first_{name}" for name in ORDER]))

    def collect(self) -> pl.DataFrame:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.collect`."""
        return pl.concat(self.batches(), how="vertical_relaxed", rechunk=True)

    def persist(self) -> LocalFrame:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.persist`."""
        batches = list(self.batches())
        return replace(self, read=lambda: iter(batches), kernels=())

    def write(self, split: Split, create: Create) -> pl.DataFrame:
        """See :meth:`~airflow_dataflow.engines.engine.Frame.write`."""
        summaries = []
        parts = (
            (batch.item(0, FILE), folder, rows)
            for batch in self.batches()
            if len(batch)
            for folder, rows in split(batch).items()
        )
        for number, of_file in groupby(parts, key=lambda part: part[0]):
            with TableWriters(self.files[number].stem, create) as writers:
                for _, folder, rows in of_file:
                    if folder == SUMMARY:
                        summaries.append(rows)
                    else:
                        writers.write(folder, rows)
        return pl.concat(summaries, rechunk=True) if summaries else pl.DataFrame()


def _quantile(ordered: pl.Series, fraction: float) -> float:
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    share = position - low
    left, right = ordered[low], ordered[math.ceil(position)]
    # The usual form gives a constant column its own value; the other one cannot overflow.
    between = left + (right - left) * share
    if not math.isfinite(between):
        between = left * (1 - share) + right * share
    return float(min(max(between, left), right))


class _JoinByOrder:
    """Joins a batch with the few rows of ``right`` that can belong to it: those between its first row and its last."""

    def __init__(self, right: pl.DataFrame, how: How) -> None:
        self._how = how
        self._none = right.clear().drop(FILE)
        self._files = {part.item(0, FILE): part.drop(FILE).sort(ROW) for part in right.partition_by(FILE) if len(part)}

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        right = self._none
        if len(rows):
            known = self._files.get(rows.item(0, FILE), self._none)
            low, high = (
                known[ROW].search_sorted(rows.item(0, ROW)),
                known[ROW].search_sorted(rows.item(-1, ROW), "right"),
            )
            right = known.slice(low, high - low)
        return rows.join(right, on=ROW, how=self._how, maintain_order="left")
