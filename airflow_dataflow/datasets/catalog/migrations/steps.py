"""Steps of migrations that can be taken again: MySQL keeps what a killed migration has done."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

MYSQL = ("mysql", "mariadb")
_OPTIONS: dict[str, Any] = {
    f"{name}_{option}": value
    for name in MYSQL
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MYSQL)
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), *MYSQL)
BYTES = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), *MYSQL)


def name_of(length: int) -> sa.String:
    """Return the type of text that compares and sorts by its characters."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def create_table(name: str, *items: Any) -> None:
    """Create a table unless it is there."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *items, **_OPTIONS)


def create_index(name: str, table: str, columns: list[str]) -> None:
    """Create an index unless it is there."""
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def has_column(table: str, column: str) -> bool:
    """Tell whether a table has a column."""
    return column in {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}


def drop_table(name: str) -> None:
    """Drop a table unless it is gone."""
    if sa.inspect(op.get_bind()).has_table(name):
        op.drop_table(name)
