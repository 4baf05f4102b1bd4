"""Operators that clean datasets; the work itself is :mod:`airflow_dataflow.cleaning`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_dataflow.operators._dataset import DatasetOperator
from airflow_dataflow.operators._links import ReportLink

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_dataflow.datasets.manifest import Manifest
    from airflow_dataflow.progress import Progress
    from airflow_dataflow.storage.store import Store


class CleanDatasetOperator(DatasetOperator):
    """Clean a version by the rules of a recipe, and make a version of the rows that survive.

    Files that the newest version of ``target`` has cleaned before, by the same recipe, are carried over unread. Every
    rejected row is kept in the version's quarantine with its reason. A retry is safe: it returns the version that an
    earlier attempt finished.

    :param source: reference of the version to clean, e.g. ``support/raw@latest`` (templated).
    :param target: dataset to add a version to (templated).
    :param recipe: recipe as a mapping, as YAML or JSON text, or the path of a recipe file (templated).
    :param refit: whether values that rules learn from the data, e.g. bounds of outliers, are learned anew from all
        rows; otherwise those of the newest version of ``target`` are used.
    """

    template_fields: Sequence[str] = ("source", "target", "recipe", "dataflow_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipe": "json"}
    operator_extra_links = (ReportLink(),)

    def __init__(
        self, *, source: str, target: str, recipe: str | Mapping[str, Any], refit: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.recipe = recipe
        self.refit = refit

    def make_version(self, store: Store, *, at: datetime, progress: Progress) -> Manifest:
        """Clean the version."""
        from airflow_dataflow.cleaning.clean import clean_dataset
        from airflow_dataflow.recipe import load_recipe

        recipe = load_recipe(self.recipe)
        return clean_dataset(store, self.source, self.target, recipe, at=at, refit=self.refit, progress=progress)
