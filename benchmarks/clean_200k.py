"""Cleaning 200,000 documents (some 470 MB of text) with all rules costs a few times a copy of the same Parquet.

Makes the documents anew from a fixed seed, copies them with PyArrow in one child process and cleans them in another,
and prints the CPU seconds and the peak memory of both. Exits 1 when cleaning takes 60 CPU seconds or 3 GiB.

    python benchmarks/clean_200k.py [--rows 200000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.cleaning.clean import clean_dataset
from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.recipe import load_recipe
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier

ROWS = 200_000
ROWS_PER_FILE = 25_000
MOST_CPU_SECONDS = 60
MOST_BYTES = 3 << 30
SEED = 20_261_123
AT = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)

RECIPE = {
    "id": "message_id",
    "text": "body",
    "label": "intent",
    "rules": [
        {"not_null": {}},
        {"mask_pii": {}},
        {"exact_duplicates": {}},
        {"text_length": {"min_chars": 20, "max_chars": 1_000_000}},
        {"gopher_quality": {"min_words": 20}},
        {"iqr_outliers": {"columns": ["latency_seconds"], "k": 3.0}},
        {"impute": {"columns": ["latency_seconds", "price"], "strategy": "median"}},
    ],
}

VOCABULARY = 50_000
STOP_WORDS = ("the", "of", "and", "to", "a", "in", "that", "is", "with", "be", "have", "for")
SEPARATORS = (" ", ", ", ". ", ".\n", ".\n\n")
SEPARATOR_SHARES = (0.86, 0.05, 0.045, 0.035, 0.01)
PII = (
    "write to jane.doe@example.org please",
    "call +49 30 1234567 after six",
    "paid with 4111 1111 1111 1111 yesterday",
    "seen from 192.168.17.4 and 2001:db8::8a2e:370:7334",
)
JUNK = (
    "#buy #now #{0} " * 20,
    "- the {0}\n- of and\n" * 20,
    "{0} 17 4711 0 " * 20,
    "the end of {0} ...\nand then\n" * 10,
    "a b c to be {0} " * 20,
    "donaudampfschifffahrtsgesellschaft {0} the of " * 20,
    "你好 👍 ñandú {0} … " * 20,
    "thanks {0}",
)


@dataclass(frozen=True)
class Cost:
    """What a child process took."""

    cpu_seconds: float
    peak_bytes: int
    note: str


def vocabulary(rng: np.random.Generator) -> list[str]:
    """Return random words, short ones and frequent letters first, with English stop words at the top."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    shares = np.arange(26, 0, -1) / 351
    lengths = rng.integers(2, 11, VOCABULARY)
    spelt = "".join(rng.choice(letters, lengths.sum(), p=shares))
    ends = np.cumsum(lengths)
    words = [spelt[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return [*STOP_WORDS, *words[len(STOP_WORDS) :]]


def texts(rng: np.random.Generator, words: list[str], count: int) -> pl.Series:
    """Return documents: words by Zipf's law in sentences, lines and paragraphs, their number log-normal."""
    ranks = 1 / np.arange(1, VOCABULARY + 1) ** 1.05
    sizes = np.clip(rng.lognormal(5.74, 0.75, count), 20, 4_000).astype(np.int64)
    total = int(sizes.sum())
    word = rng.choice(VOCABULARY, total, p=ranks / ranks.sum())
    separator = rng.choice(len(SEPARATORS), total, p=SEPARATOR_SHARES)
    pieces = pa.array([word + separator for word in words for separator in SEPARATORS])
    flat = pieces.take(pa.array(word * len(SEPARATORS) + separator))
    # All documents are one text already: only the places where they end are missing.
    ends = np.frombuffer(flat.buffers()[1], np.int32)[np.concatenate([[0], np.cumsum(sizes)])]
    return pl.Series(pa.StringArray.from_buffers(count, pa.py_buffer(ends.tobytes()), flat.buffers()[2]))


def messages(rng: np.random.Generator, words: list[str], first: int, count: int) -> pl.DataFrame:
    """Return one file: 7.5 % copies, 2.5 % copies but for case and whitespace, 5 % junk, 5 % personal data, gaps."""
    body = texts(rng, words, count)
    kind = pl.Series(rng.random(count))
    other = body.gather(rng.integers(0, count, count))
    frame = pl.DataFrame(
        {
            "message_id": pl.int_range(first, first + count, eager=True),
            "body": body,
            "kind": kind,
            "other": other,
            "junk": [
                JUNK[index].format(*[first + row] * 20) for row, index in enumerate(rng.integers(0, len(JUNK), count))
            ],
            "pii": pl.Series(PII).gather(rng.integers(0, len(PII), count)),
            "intent": pl.Series([f"intent_{n}" for n in range(20)]).gather(rng.integers(0, 20, count)),
            "latency_seconds": rng.lognormal(0, 0.5, count) * np.where(rng.random(count) < 0.01, 100, 1),
            "price": rng.normal(20, 5, count),
            "gap": rng.random((count, 3)).tolist(),
        }
    )
    text = (
        pl.when(pl.col("kind") < 0.075)
        .then(pl.col("other"))
        .when(pl.col("kind") < 0.10)
        .then(pl.col("other").str.to_uppercase() + "  \n")
        .when(pl.col("kind") < 0.15)
        .then(pl.col("junk"))
        .when(pl.col("kind") < 0.20)
        .then(pl.col("body") + pl.col("pii"))
        .otherwise(pl.col("body"))
    )
    gap = pl.col("gap").list
    return frame.select(
        "message_id",
        pl.when(gap.get(0) > 0.005).then(text).alias("body"),
        "intent",
        pl.when(gap.get(1) > 0.03).then(pl.col("latency_seconds")).alias("latency_seconds"),
        pl.when(gap.get(2) > 0.03).then(pl.col("price")).alias("price"),
    )


def open_store(folder: Path) -> Store:
    """Return a store of one tier."""
    return Store(
        [Tier(name="hot", tier_class="hot", url=str(folder / "hot"))], Catalog(f"sqlite:///{folder}/catalog.db")
    )


def make(folder: Path, rows: int) -> str:
    """Make the raw dataset."""
    rng = np.random.default_rng(SEED)
    words = vocabulary(rng)
    text_bytes = 0
    with open_store(folder).draft("bench/raw", at=AT, fingerprint=f"{rows:064x}") as draft:
        for first in range(0, rows, ROWS_PER_FILE):
            frame = messages(rng, words, first, min(ROWS_PER_FILE, rows - first))
            text_bytes += frame["body"].str.len_bytes().sum()
            with draft.create(f"data/messages-{first // ROWS_PER_FILE:05}.parquet") as file:
                frame.write_parquet(file, compression="zstd", compression_level=1)
                file.rows = len(frame)
        columns = {name: str(kind) for name, kind in frame.schema.items()}
        draft.commit(Rows(rows_in=rows, rows_out=rows), columns=columns)
    return f"{rows:,} documents, {text_bytes / 1e6:,.0f} MB of text"


def clean(folder: Path) -> str:
    """Clean it with all rules."""
    made = clean_dataset(open_store(folder), "bench/raw@latest", "bench/clean", load_recipe(RECIPE), at=AT)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in made.quarantined_by_reason.items())
    return f"{made.rows_in:,} in, {made.rows_out:,} out; {reasons}"


def copy(folder: Path) -> str:
    """Copy it, batch by batch."""
    (folder / "copy").mkdir()
    copied = 0
    for path in sorted((folder / "hot").rglob("raw/*/data/*.parquet")):
        with pq.ParquetFile(path) as source:
            target = folder / "copy" / path.name
            with pq.ParquetWriter(target, source.schema_arrow, compression="zstd", compression_level=1) as writer:
                for batch in source.iter_batches(ROWS_PER_FILE):
                    writer.write_batch(batch)
                    copied += len(batch)
    return f"{copied:,} rows"


def cost_of(work: Callable[..., str], *arguments: Any) -> Cost:
    """Run ``work`` in a fresh process and return what that process took, start included."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        sys.exit(f"{work.__name__} failed")
    finally:
        process.join()


def _measure(sender: Connection, work: Callable[..., str], arguments: tuple[Any, ...]) -> None:
    note = work(*arguments)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sender.send(Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, note))


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help=f"documents to make (default {ROWS:,})")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clean-200k-", dir=arguments.folder) as name:
        folder = Path(name)
        print(f"made    {cost_of(make, folder, arguments.rows).note}")
        copied = cost_of(copy, folder)
        cleaned = cost_of(clean, folder)
    for label, cost in (("copied", copied), ("cleaned", cleaned)):
        print(f"{label:7} {cost.cpu_seconds:5.1f} CPU s, peak {cost.peak_bytes / 2**30:.2f} GiB   {cost.note}")
    print(f"ratio   {cleaned.cpu_seconds / copied.cpu_seconds:5.1f} times the CPU of the copy")
    return int(cleaned.cpu_seconds >= MOST_CPU_SECONDS or cleaned.peak_bytes >= MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
