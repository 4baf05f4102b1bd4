"""How files are to be transferred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from airflow_dataflow.errors import InvalidInputError, did_you_mean
from airflow_dataflow.transfer.limits import Limits

Verify = Literal["auto", "full"]
Compress = int | Literal["auto", "off"]
FASTEST_LEVEL, SMALLEST_LEVEL = -7, 19


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """How files are to be transferred."""

    verify: Verify = "auto"
    """``auto`` believes a target that checks what arrives by a checksum of its own, and reads back everything else;
    ``full`` always reads back."""
    compress: Compress = "off"
    """Zstandard level from -7 to 19 for what the target stores, ``auto`` for the level that suits the link, measured
    all the while, ``off`` for none."""
    pack: bool = False
    """Whether small files are put together in packs, from which each one can still be read alone."""
    pack_below_bytes: int = (4 << 20) + 1
    """Files of fewer bytes are small."""
    mirror: bool = False
    """Whether files at the target that the source does not have are removed in the end."""
    most_removed_fraction: float = 0.5
    """Share of the target's files that ``mirror`` may remove; if it were more, nothing is. 1 lets it remove all."""
    skip: Literal["digest", "stamp"] = "digest"
    """How files that need no copy are found: ``digest`` compares what stores know of their content, or reads both;
    ``stamp`` compares size and time of change, which is fast and believes clocks."""
    dry_run: bool = False
    """Whether to tell what would be done, and do nothing."""
    bytes_per_second: int | None = None
    """Most bytes to send in a second; as many as go when ``None``."""
    parts_at_once: int | None = None
    """Parts or files in flight at a time; what both stores like when ``None``."""

    def __post_init__(self) -> None:
        if self.verify not in get_args(Verify):
            raise InvalidInputError(f"verify is {self.verify!r}{did_you_mean(str(self.verify), get_args(Verify))}")
        if self.skip not in ("digest", "stamp"):
            raise InvalidInputError(f"skip is {self.skip!r}{did_you_mean(str(self.skip), ('digest', 'stamp'))}")
        if isinstance(self.compress, str) and self.compress not in ("auto", "off"):
            raise InvalidInputError(f"compress is {self.compress!r}: give 'auto', 'off' or a level from -7 to 19")
        if isinstance(self.compress, int) and not FASTEST_LEVEL <= self.compress <= SMALLEST_LEVEL:
            raise InvalidInputError(f"compress is {self.compress}: Zstandard levels go from -7 to 19")
        if not 0 <= self.most_removed_fraction <= 1:
            raise InvalidInputError(f"most_removed_fraction is a share from 0 to 1, got {self.most_removed_fraction}")
        if self.pack_below_bytes < 1:
            raise InvalidInputError(f"pack_below_bytes must be at least 1, got {self.pack_below_bytes}")
        for name in ("bytes_per_second", "parts_at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {value}; leave it out for no limit")

    @property
    def packs(self) -> bool:
        """Whether some files go into packs, compressed or not."""
        return self.pack or self.compress != "off"

    @property
    def limits(self) -> Limits:
        """What a :class:`~airflow_dataflow.transfer.limits.Control` begins with."""
        return Limits(bytes_per_second=self.bytes_per_second, parts_at_once=self.parts_at_once)
