"""What commands and their arguments are, and the arguments that many of them share."""

from __future__ import annotations

from argparse import Action
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument; all but ``flags`` means what it means for :meth:`argparse.ArgumentParser.add_argument`."""

    flags: tuple[str, ...]
    """``("source",)`` for a positional argument, ``("--recipe",)`` for an option."""
    help: str
    """What it is, with unit and default."""
    default: Any = None
    type: Callable[[str], Any] | None = None
    choices: tuple[str, ...] | None = None
    action: str | Callable[..., Action] | None = None
    nargs: str | None = None
    metavar: str | None = None
    required: bool | None = None

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments for argparse."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "flags"}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command."""

    name: str
    """One word, or two for a command of a group, e.g. ``datasets list``."""
    help: str
    """What it does, as an order."""
    function: str
    """``module:function`` in this package; called with the parsed arguments and a progress, returns an answer."""
    arguments: tuple[Argument, ...] = ()
    """Its own arguments; those of :data:`COMMON` are added."""
    prints_itself: bool = False
    """Whether it prints while it works; progress bars would draw over that."""


COMMON = (
    Argument(
        flags=("--format",),
        help="how to print the answer: table (default) or json",
        default="table",
        choices=("table", "json"),
    ),
    Argument(flags=("--debug",), help="show the log, and where an error comes from", action="store_true"),
)

STORE = (
    Argument(
        flags=("--store",),
        help="file with 'catalog_url' and 'tiers' (default: $DATAFLOW_STORE, else the connection --conn-id)",
        metavar="FILE",
    ),
    Argument(
        flags=("--conn-id",),
        help="Airflow connection of type 'dataflow' (default dataflow_default)",
        default="dataflow_default",
        metavar="ID",
    ),
)
