"""Options of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from airflow_dataflow.errors import InvalidInputError, did_you_mean

DEFAULT_HOME = Path(".demo")
TierKind = Literal["local", "hdfs"]
TIER_KINDS: tuple[TierKind, ...] = get_args(TierKind)


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What ``dataflow demo`` shall do."""

    home: Path = DEFAULT_HOME
    """Folder for everything that the demo makes; nights on samples begin by emptying it, but for what became of
    own files."""
    input: Path | None = None
    """Own file to run one night on; ``None`` runs nights on samples."""
    text: str | None = None
    """Column of ``input`` that holds the texts."""
    label: str | None = None
    """Column of ``input`` that holds what a model shall predict."""
    id: str | None = None
    """Column of ``input`` that names a row; ``None`` names it by its row number."""
    ui: bool = False
    """Leave Airflow running until Ctrl-C; without ``input`` no night is run."""
    tiers: TierKind | None = None
    """``local`` for tiers that are three folders, ``hdfs`` for a warm tier on HDFS and a cold one on S3, whose servers
    the demo starts; ``None`` means those that the home has, and folders in a new one."""
    port: int = 0
    """Port of the web UI; 0 takes the one that the home had before, or any free one."""

    def __post_init__(self) -> None:
        if self.tiers is not None and self.tiers not in TIER_KINDS:
            raise InvalidInputError(
                f"there are no tiers {self.tiers!r}{did_you_mean(self.tiers, TIER_KINDS)}; "
                f"--tiers takes {' or '.join(TIER_KINDS)}"
            )
        if self.input is not None:
            for name in ("text", "label"):
                if not getattr(self, name):
                    raise InvalidInputError(f"which column of {self.input.name} is the {name}? Add --{name} COLUMN")
        for name in ("text", "label", "id"):
            if self.input is None and getattr(self, name):
                raise InvalidInputError(f"--{name} names a column of your own file: add --input FILE")
