"""A tier: a place that holds versions, with a class that says how near it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from airflow_dataflow.datasets.name import check_dataset_name
from airflow_dataflow.errors import InvalidInputError, did_you_mean
from airflow_dataflow.storage.directory import Directory

TierClass = Literal["hot", "warm", "cold"]
TIER_CLASSES: tuple[TierClass, ...] = get_args(TierClass)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """A place that holds versions of datasets, under ``<url>/<dataset>/<version>/``."""

    name: str
    """Name, unique in the store, e.g. ``hot``."""
    tier_class: TierClass
    """``hot`` (near, dear), ``warm`` or ``cold`` (far, cheap)."""
    url: str
    """Folder or prefix, e.g. ``file:///data/hot`` or ``s3://bucket/cold``."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """What fsspec needs to open ``url``, secrets included; never printed."""
    storage_class: str | None = None
    """Storage class that new files get, e.g. ``STANDARD_IA`` on S3; the store's own choice when ``None``."""

    def __post_init__(self) -> None:
        check_dataset_name(self.name)
        if self.tier_class not in TIER_CLASSES:
            raise InvalidInputError(
                f"tier {self.name!r} has class {self.tier_class!r}{did_you_mean(self.tier_class, TIER_CLASSES)}"
            )

    @property
    def directory(self) -> Directory:
        """The tier's folder."""
        return Directory.from_url(self.url, self.storage_options, storage_class=self.storage_class)
