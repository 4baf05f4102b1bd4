"""Units that are one file each: the folder is the registry, the file's name is the key in recipes.

``cleaning/rules/text_length.py`` holds the class ``TextLength`` and is the rule ``text_length``. Other packages add
units through an entry-point group (``airflow_dataflow.rules`` for rules); nothing is imported until it is asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from airflow_dataflow.errors import InvalidInputError, did_you_mean

Unit = TypeVar("Unit")


class Registry(Generic[Unit]):
    """The units of one folder.

    :param package: dotted name of the folder, e.g. ``airflow_dataflow.cleaning.rules``.
    :param kind: what a unit is called in messages, e.g. ``cleaning rule``.
    :param group: entry-point group through which other packages add units.
    """

    def __init__(self, package: str, kind: str, group: str) -> None:
        self.package = package
        self.kind = kind
        self.group = group

    @cached_property
    def _builtin(self) -> frozenset[str]:
        path = importlib.import_module(self.package).__path__
        return frozenset(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._builtin | {entry.name for entry in entry_points(group=self.group)})

    def get(self, name: str) -> type[Unit]:
        """Return the class of the unit ``name``.

        :raises InvalidInputError: when there is none, with the closest name.
        """
        if name in self._builtin:
            module = importlib.import_module(f"{self.package}.{name}")
            return cast("type[Unit]", getattr(module, "".join(part.capitalize() for part in name.split("_"))))
        for entry in entry_points(group=self.group):
            if entry.name == name:
                return cast("type[Unit]", entry.load())
        raise InvalidInputError(f"no {self.kind} named {name!r}{did_you_mean(name, self.names)}")

    def build(self, name: str, parameters: Mapping[str, Any]) -> Unit:
        """Make the unit ``name``, a frozen dataclass, from the parameters of a recipe.

        :raises InvalidInputError: for an unknown name, an unknown parameter or a value of the wrong type.
        """
        return make(self.get(name), f"{self.kind} {name!r}", parameters)


def make(kind: type[Unit], what: str, parameters: Mapping[str, Any]) -> Unit:
    """Make a frozen dataclass from parameters that a person wrote.

    :param kind: the dataclass.
    :param what: what it is called in messages, e.g. ``cleaning rule 'text_length'``.
    :param parameters: values by field name; those that are absent have their defaults.
    :raises InvalidInputError: for an unknown parameter, with the closest one, or a value of the wrong type.
    """
    fields = [field.name for field in dataclasses.fields(cast(Any, kind)) if field.init]
    for key in parameters:
        if key not in fields:
            raise InvalidInputError(f"{what} has no parameter {key!r}{did_you_mean(key, fields)}")
    try:
        return TypeAdapter(kind).validate_python(dict(parameters))
    except ValidationError as error:
        raise InvalidInputError(f"{what}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Return pydantic's findings as one line: where, what, and the value that was given."""
    findings = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        value = "" if item["type"] == "missing" else f" (got {item['input']!r})"
        findings.append(f"{where}: {item['msg']}{value}" if where else f"{item['msg']}{value}")
    return "; ".join(findings)
