"""Who has read which version, from where, and how much of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Purpose = Literal["use", "publish", "move", "verify"]
"""Why a version is read: by a step that makes another version, to publish it, to move or copy it between tiers, or to
check it. Only the first two say that somebody needs it."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who reads: a task of Airflow, or a command."""

    dag_id: str | None = None
    """Id of the task's DAG; ``None`` for a command."""
    run_id: str | None = None
    """Id of the DAG's run."""
    task_id: str | None = None
    """Id of the task."""
    map_index: int | None = None
    """Number of the mapped task, -1 for a task that is not mapped."""
    try_number: int | None = None
    """Number of the attempt, from 1."""
    command: str | None = None
    """Name of the command, e.g. ``clean``; ``None`` for a task."""

    def __str__(self) -> str:
        if self.dag_id is None:
            return f"dataflow {self.command}" if self.command else "unknown"
        mapped = f"[{self.map_index}]" if self.map_index is not None and self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{mapped} in {self.run_id}"


NOBODY = Reader()
"""A reader of whom nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one task or command has read of one version on one tier."""

    dataset: str
    """Name of the dataset."""
    version: str
    """Version id."""
    tier: str
    """Name of the tier that it was read from."""
    at: datetime
    """When reading began, in UTC."""
    bytes: int
    """Bytes that were read, each time that they were."""
    files: int
    """Files of which something was read."""
    purpose: Purpose = "use"
    """Why."""
    reader: Reader = NOBODY
    """Who."""
    id: str = field(default_factory=lambda: new_read_id(datetime.now(UTC)), compare=False)
    """Unique name, which sorts by time; a write that is repeated does not count twice."""

    @property
    def reference(self) -> str:
        """Fixed reference of the version."""
        return f"{self.dataset}@{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """Return the read as JSON knows it."""
        who = self.reader
        return {
            "reference": self.reference,
            "tier": self.tier,
            "at": self.at.isoformat(),
            "bytes": self.bytes,
            "files": self.files,
            "purpose": self.purpose,
            "reader": str(who),
            "dag_id": who.dag_id,
            "run_id": who.run_id,
            "task_id": who.task_id,
            "map_index": who.map_index,
            "try_number": who.try_number,
            "command": who.command,
        }


def new_read_id(at: datetime) -> str:
    """Return a name that no other read has."""
    return f"{int(at.timestamp() * 1_000_000):016x}{secrets.token_hex(8)}"
