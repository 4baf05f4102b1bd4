"""Options of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow_dataflow.errors import InvalidInputError

DEFAULT_HOME = Path(".demo")


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What ``dataflow demo`` shall do."""

    home: Path = DEFAULT_HOME
    """Folder for everything that the demo makes; two nights on samples begin by emptying it, but for what became of
    own files."""
    input: Path | None = None
    """Own file to run one night on; ``None`` runs two nights on samples."""
    text: str | None = None
    """Column of ``input`` that holds the texts."""
    label: str | None = None
    """Column of ``input`` that holds what a model shall predict."""
    id: str | None = None
    """Column of ``input`` that names a row; ``None`` names it by its row number."""
    ui: bool = False
    """Leave Airflow running until Ctrl-C; without ``input`` no night is run."""
    port: int = 0
    """Port of the web UI; 0 takes the one that the home had before, or any free one."""

    def __post_init__(self) -> None:
        if self.input is not None:
            for name in ("text", "label"):
                if not getattr(self, name):
                    raise InvalidInputError(f"which column of {self.input.name} is the {name}? Add --{name} COLUMN")
        for name in ("text", "label", "id"):
            if self.input is None and getattr(self, name):
                raise InvalidInputError(f"--{name} names a column of your own file: add --input FILE")
