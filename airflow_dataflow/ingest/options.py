"""Options of an ingest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from airflow_dataflow.errors import InvalidInputError, did_you_mean

Missing = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """What to do with a landing folder."""

    readers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters of the readers, by name, e.g. ``{"csv": {"delimiter": ";"}}``; each reader says what it knows."""
    missing: Missing = "keep"
    """Rows of files that are no longer in the source: ``keep`` (landing zones get emptied) or ``drop``."""
    part_rows: int = 1_000_000
    """Most rows of one output file."""
    part_bytes: int = 256 << 20
    """Most bytes of one output file, as Arrow holds them in memory."""
    row_group_bytes: int = 64 << 20
    """Bytes of one Parquet row group, as Arrow holds them in memory; what one writer needs at a time."""

    def __post_init__(self) -> None:
        if self.missing not in get_args(Missing):
            raise InvalidInputError(f"missing is {self.missing!r}{did_you_mean(self.missing, get_args(Missing))}")
        for name in ("part_rows", "part_bytes", "row_group_bytes"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} is {getattr(self, name)}; it has to be at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain data, as a manifest stores them."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**plain, "readers": {name: dict(values) for name, values in sorted(self.readers.items())}}
