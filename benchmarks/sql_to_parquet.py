"""A table of 2 million rows becomes Parquet at least twice as fast as with pandas' chunks, in under 400 MB.

Makes a table of eight columns (whole numbers with nulls, decimals, a date, a time, text, a double, bytes) on PostgreSQL
and MariaDB, writes it to Parquet with ``pandas.read_sql`` in chunks of 50,000 rows and with ``ingest_table``, each in a
process of its own, in turns, and prints the median of rows per second, CPU seconds and the peak memory. Exits 1 when a
promise is broken. Servers are those of the tests, started for this run.

    python benchmarks/sql_to_parquet.py [--rows 2000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent.parent))

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.ingest.table import ingest_table
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.services.sql import mariadb_server, postgres_server
from tests.services.tables import Tables

LEAST_TIMES = 2.0
MOST_BYTES = 400_000_000
CHUNK_ROWS = 50_000
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "quantity": pa.int32(),
        "amount": pa.decimal128(18, 4),
        "day": pa.date32(),
        "at": pa.timestamp("us"),
        "name": pa.string(),
        "score": pa.float64(),
        "payload": pa.binary(),
    }
)


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    rows_per_second: float
    cpu_seconds: float
    peak_bytes: int


def make(tables: Tables, rows: int) -> None:
    """Make the table."""
    if tables.is_postgres:
        types = ("bigint", "integer", "numeric(18,4)", "date", "timestamp", "text", "double precision", "bytea")
        values = (
            "i, CASE WHEN i % 10 > 0 THEN i % 1000 END, i * 1.2345, '2020-01-01'::date + (i % 2000), "
            "'2020-01-01'::timestamp + i * interval '1.000001 s', md5(i::text), i / 7.0, decode(md5(i::text), 'hex')"
        )
    else:
        types = ("bigint", "int", "decimal(18,4)", "date", "datetime(6)", "varchar(64)", "double", "varbinary(32)")
        values = (
            "i, IF(i % 10 > 0, i % 1000, NULL), i * 1.2345, date_add('2020-01-01', INTERVAL i % 2000 DAY), "
            "date_add('2020-01-01', INTERVAL i * 1000001 MICROSECOND), md5(i), i / 7.0, unhex(md5(i))"
        )
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(SCHEMA.names, types, strict=True))
    tables.run(
        f"CREATE TABLE t ({columns}, PRIMARY KEY (id))", f"INSERT INTO t SELECT {values} FROM {tables.series(rows)}"
    )


def with_pandas(url: str, folder: str) -> int:
    """Read chunks through SQLAlchemy's streaming cursor, and write each as a row group; decimals come as floats."""
    import pandas as pd  # the other way does without, and without its memory

    schema = SCHEMA.set(SCHEMA.get_field_index("amount"), pa.field("amount", pa.float64()))
    rows = 0
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    path = Path(folder, "pandas.parquet")
    with engine.connect() as connection, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        streaming = connection.execution_options(stream_results=True)
        for chunk in pd.read_sql("SELECT * FROM t", streaming, chunksize=CHUNK_ROWS):
            writer.write_table(pa.Table.from_pandas(chunk, schema, preserve_index=False))
            rows += len(chunk)
    return rows


def with_ours(url: str, folder: str) -> int:
    """Make a version, manifest, digests and catalog included."""
    store = Store([Tier(name="hot", tier_class="hot", url=f"{folder}/hot")], Catalog(f"sqlite:///{folder}/catalog.db"))
    return ingest_table(store, url, "t", "bench/t", at=datetime(2026, 11, 23, tzinfo=UTC)).rows_out


def cost_of(work: Callable[[str, str], int], url: str) -> Cost:
    """Run ``work`` in a fresh process, and return what it took after its start."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="sql-to-parquet-") as folder:
        process = context.Process(target=_measure, args=(sender, work, url, folder))
        process.start()
        sender.close()
        try:
            return receiver.recv()
        except EOFError:
            sys.exit(f"{work.__name__} failed")
        finally:
            process.join()


def _measure(sender: Connection, work: Callable[[str, str], int], url: str, folder: str) -> None:
    start, cpu = time.monotonic(), time.process_time()
    rows = work(url, folder)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sender.send(Cost(rows / seconds, time.process_time() - cpu, peak))


def compare(name: str, url: str, rounds: int) -> bool:
    """Measure both ways in turns, print them, and return whether the promises hold."""
    costs: dict[str, list[Cost]] = {"pandas": [], "ours": []}
    for _ in range(rounds):
        costs["pandas"].append(cost_of(with_pandas, url))
        costs["ours"].append(cost_of(with_ours, url))
    speed = {label: statistics.median(cost.rows_per_second for cost in found) for label, found in costs.items()}
    for label, found in costs.items():
        cpu = statistics.median(cost.cpu_seconds for cost in found)
        peak = max(cost.peak_bytes for cost in found)
        times = speed[label] / speed["pandas"]
        print(
            f"{name:10} {label:6} {speed[label] / 1000:6.0f} thousand rows/s, {times:4.1f} times pandas, "
            f"{cpu:5.1f} CPU s, peak {peak / 1e6:4.0f} MB"
        )
    most = max(cost.peak_bytes for cost in costs["ours"])
    return speed["ours"] >= LEAST_TIMES * speed["pandas"] and most < MOST_BYTES


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the table (default 2,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default 3)")
    arguments = parser.parse_args()
    kept = []
    for name, server in (("PostgreSQL", postgres_server), ("MariaDB", mariadb_server)):
        with server() as running, running.database() as url:
            make(Tables(url), arguments.rows)
            kept.append(compare(name, url, arguments.rounds))
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
