"""Options of an ingest of a database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from airflow_dataflow.errors import InvalidInputError, did_you_mean

Late = Literal["refresh", "ignore"]
Misfits = Literal["fail", "quarantine"]


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What to read of a table or query, and how."""

    watermark: str | None = None
    """Column whose values only grow, e.g. a serial number or the time of the insert; each night reads the rows above
    the last one. ``None`` reads everything each night."""
    lag: float = 0
    """How far below the present a night stays, so that transactions that are under way can end: seconds for times and
    dates, units of the column for numbers."""
    late: Late = "refresh"
    """When the number of rows up to the last watermark is not the one that was read, because rows came late, changed
    or were deleted: ``refresh`` reads everything again, ``ignore`` leaves them be, and saves counting."""
    key: tuple[str, ...] | None = None
    """Columns that order the rows, so that equal content gives equal bytes; ``None`` for the primary key, empty for
    the database's own order."""
    misfits: Misfits = "fail"
    """Rows with a value that Arrow has no equal for, such as NaN in a numeric: ``fail``, or ``quarantine`` them."""
    readers: int | None = None
    """Most connections that read at once; ``None`` for what suits the database: 2 for PostgreSQL, 1 for MySQL, whose
    client works in Python."""
    range_rows: int = 500_000
    """Rows of one range of the key, and most rows of one output file."""
    row_group_bytes: int = 8 << 20
    """Bytes of one Parquet row group, as Arrow holds them in memory; what one reader needs a few times."""

    def __post_init__(self) -> None:
        for name, known in (("late", get_args(Late)), ("misfits", get_args(Misfits))):
            if getattr(self, name) not in known:
                raise InvalidInputError(f"{name} is {getattr(self, name)!r}{did_you_mean(getattr(self, name), known)}")
        for name in ("readers", "range_rows", "row_group_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} is {value}; it has to be at least 1")
        if self.lag < 0:
            raise InvalidInputError(f"lag is {self.lag}; it has to be at least 0")

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the content, as plain data; how fast it is read does not."""
        plain = asdict(self)
        return {name: plain[name] for name in ("watermark", "late", "misfits")} | {"key": self.key and list(self.key)}
