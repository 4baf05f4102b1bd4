"""Databases with tables, on both servers: what is the same in their tests, and what their SQL spells differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa


@dataclass(frozen=True)
class Tables:
    """An empty database."""

    url: str
    """Its SQLAlchemy URL, with the password."""

    @property
    def is_postgres(self) -> bool:
        """Whether it is PostgreSQL, and not MariaDB."""
        return self.url.startswith("postgresql")

    @contextmanager
    def connection(self, isolation: str = "AUTOCOMMIT") -> Iterator[sa.Connection]:
        """Connect for a while."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level=isolation)
        with engine.connect() as connection:
            yield connection

    def run(self, *statements: str) -> list[Any]:
        """Run statements, each a transaction of its own, and return the rows of the last one."""
        rows: Sequence[Any] = []
        with self.connection() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement.replace("%", "%%"))
                rows = result.fetchall() if result.returns_rows else []
        return [tuple(row) for row in rows]

    def series(self, rows: int) -> str:
        """Return what stands after FROM for the numbers from 1 on, in a column ``i``."""
        if self.is_postgres:
            return f"generate_series(1, {rows}) AS numbers (i)"
        return f"(SELECT CAST(seq AS signed) AS i FROM seq_1_to_{rows}) AS numbers"

    def difference(self, left: str, right: str) -> list[Any]:
        """Return the rows that one table has and the other has not, in either direction; duplicates count."""
        pairs = ((left, right), (right, left))
        return [row for one, two in pairs for row in self.run(f"SELECT * FROM {one} EXCEPT ALL SELECT * FROM {two}")]


@pytest.fixture(
    params=[pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("mariadb", marks=pytest.mark.mariadb)]
)
def tables(request: pytest.FixtureRequest) -> Tables:
    """Return an empty database, once of each server."""
    return Tables(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def postgres_tables(postgres_url: str) -> Tables:
    """Return an empty database of PostgreSQL."""
    return Tables(postgres_url)


@pytest.fixture
def mariadb_tables(mariadb_url: str) -> Tables:
    """Return an empty database of MariaDB."""
    return Tables(mariadb_url)
