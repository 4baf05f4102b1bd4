"""Recipes: what to do with the rows of a dataset, as data.

A recipe is a YAML file or a mapping::

    id: message_id          # names a row; (file, row number) when absent
    text: body              # the document column that text rules and extractors use by default
    label: intent           # what a model learns to predict
    rules:                  # cleaning, in order
      - not_null: {columns: [body, intent]}
      - exact_duplicates: {}
    features:
      - hashed_tfidf: {dimensions: 16384}
    split: {train: 0.8, validation: 0.1, test: 0.1}

Rules and features are names of files in ``cleaning/rules`` and ``features/extractors``; their parameters are checked
by the code that runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from airflow_dataflow.datasets.manifest import fingerprint_of
from airflow_dataflow.errors import InvalidInputError, NotFoundError, did_you_mean
from airflow_dataflow.registry import explain


class Step(BaseModel):
    """One rule or extractor with its parameters."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Name of the unit."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; those that are absent have their defaults."""


class Split(BaseModel):
    """Shares of the rows that go to training, validation and test; a row's share follows from its key alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(default=0.8, ge=0, le=1)
    """Share for training."""
    validation: float = Field(default=0.1, ge=0, le=1)
    """Share for choosing parameters."""
    test: float = Field(default=0.1, ge=0, le=1)
    """Share for the final report."""
    salt: str = ""
    """Any text; another one gives another split."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:  # noqa: PLR2004 - rounding of decimal shares
            raise ValueError(f"shares add up to {self.train + self.validation + self.test:g}, not 1")
        return self


class Recipe(BaseModel):
    """What to do with the rows of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = None
    """Column that names a row; ``None`` names it by file and row number."""
    text: str | None = None
    """Document column that text rules and extractors use when they name none."""
    label: str | None = None
    """Column that a model learns to predict."""
    rules: tuple[Step, ...] = ()
    """Cleaning rules, in order."""
    features: tuple[Step, ...] = ()
    """Extractors, in order."""
    split: Split = Split()
    """How rows are divided for training."""

    @field_validator("rules", "features", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("expected a list of items such as '- not_null: {columns: [body]}'")
        return tuple(_step(item) for item in value)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the recipe; the order of keys does not matter, the order of rules does."""
        return fingerprint_of(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in the form that :func:`load_recipe` reads."""
        plain = self.model_dump(mode="json", exclude={"rules", "features"})
        plain["rules"] = [{step.name: step.parameters} for step in self.rules]
        plain["features"] = [{step.name: step.parameters} for step in self.features]
        return plain


def load_recipe(source: str | Path | Mapping[str, Any]) -> Recipe:
    """Read a recipe.

    :param source: path of a YAML or JSON file, YAML or JSON text of a mapping, or the mapping itself.
    :raises NotFoundError: when the file does not exist.
    :raises InvalidInputError: when it is no recipe; unknown keys come with a spelling hint.
    """
    where, content = _read(source)
    if not isinstance(content, Mapping):
        raise InvalidInputError(f"{where} is no recipe: expected keys such as 'text' and 'rules', got {content!r:.80}")
    for key in content:
        if key not in Recipe.model_fields:
            raise InvalidInputError(f"{where} has an unknown key {key!r}{did_you_mean(str(key), Recipe.model_fields)}")
    try:
        return Recipe.model_validate(dict(content))
    except ValidationError as error:
        raise InvalidInputError(f"{where}: {explain(error)}") from error


def _read(source: str | Path | Mapping[str, Any]) -> tuple[str, Any]:
    if isinstance(source, Mapping):
        return "recipe", source
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return "recipe", _parse("recipe", source)
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"no recipe file {str(path)!r}") from error
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"recipe file {str(path)!r} cannot be read: {error}") from error
    return f"recipe {path.name!r}", _parse(f"recipe {path.name!r}", text)


def _parse(where: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{where} is not valid YAML: {error}") from error


def _step(item: Any) -> Step:
    if isinstance(item, Step):
        return item
    if isinstance(item, str):
        return Step(name=item)
    if isinstance(item, Mapping) and len(item) == 1:
        name, parameters = next(iter(item.items()))
        if parameters is None:
            return Step(name=str(name))
        if isinstance(parameters, Mapping):
            return Step(name=str(name), parameters=dict(parameters))
    raise ValueError(f"{item!r} is not one name with its parameters, such as {{not_null: {{columns: [body]}}}}")
