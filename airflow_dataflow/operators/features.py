"""Operators that extract features; the work itself is :mod:`airflow_dataflow.features`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_dataflow.operators._dataset import DatasetOperator

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.store import Store


class ExtractFeaturesOperator(DatasetOperator):
    """Turn a cleaned version into features for training, validation and test.

    Files whose features the newest version of ``target`` has, with the same fitted state, are carried over. A retry is
    safe: it returns the version that an earlier attempt finished.

    :param source: reference of the cleaned version, e.g. ``support/clean@latest`` (templated).
    :param target: dataset to add a version to (templated).
    :param recipe: recipe as a mapping, as YAML or JSON text, or the path of a recipe file (templated).
    :param refit: whether what extractors learn from the data, e.g. word frequencies, is learned anew from all rows;
        otherwise the state of the newest version of ``target`` is used.
    """

    template_fields: Sequence[str] = ("source", "target", "recipe", "dataflow_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipe": "json"}

    def __init__(
        self, *, source: str, target: str, recipe: str | Mapping[str, Any], refit: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.recipe = recipe
        self.refit = refit

    def make_version(self, store: Store, *, at: datetime, progress: Progress) -> Manifest:
        """Extract the features."""
        from airflow_dataflow.features.extract import extract_dataset
        from airflow_dataflow.recipe import load_recipe

        recipe = load_recipe(self.recipe)
        return extract_dataset(store, self.source, self.target, recipe, at=at, refit=self.refit, progress=progress)
