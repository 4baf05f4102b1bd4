"""What the tests of databases have in common."""

from __future__ import annotations

import pyarrow as pa
import pytest

from airflow_dataflow.databases.columns import typed
from airflow_dataflow.databases.dialects import open_database
from airflow_dataflow.databases.source import Source


@pytest.fixture
def read():
    """Return a function that reads a whole table as it is; it returns the table and the rows that do not fit."""

    def run(url, name, order=None, readers=1):
        database = open_database(url)
        with database.snapshot(Source.parse(name), readers) as snapshot:
            schema = pa.schema([column.field(database.name) for column in snapshot.columns])
            selected = ", ".join(one for column in snapshot.columns for one in column.expressions)
            end = f" ORDER BY {snapshot.column(order)}" if order else ""
            batches, misfits = [], []
            for raw in snapshot.batches(f"SELECT {selected} FROM {snapshot.relation}{end}", 0, snapshot.columns):
                batch, found = typed(snapshot.columns, raw, schema)
                batch.validate(full=True)
                batches.append(batch)
                misfits += found
        return pa.Table.from_batches(batches, schema), misfits

    return run


@pytest.fixture
def write():
    """Return a function that loads an Arrow table into a table, which it makes when it is absent."""

    def run(url, name, table, key=()):
        with open_database(url).load(Source.parse(name)) as load:
            if load.columns() is None:
                load.create(table.schema, key)
            load.begin(table.schema, ())
            for batch in table.to_batches(max_chunksize=1000):
                load.write(batch)
            return load.finish()

    return run
