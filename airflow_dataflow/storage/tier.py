"""A tier: a place that holds versions, with a class that says how near it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from airflow_dataflow.datasets.name import check_dataset_name
from airflow_dataflow.errors import InvalidInputError, did_you_mean
from airflow_dataflow.storage.directory import Directory

TierClass = Literal["hot", "warm", "cold"]
LEVELS = range(-7, 20)
"""Zstandard's levels that are of use."""
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
    pack_below_bytes: int = 0
    """Files of fewer bytes are put together in packs when a version is copied to this tier; none when 0."""
    compress: int | Literal["auto", "off"] = "off"
    """Zstandard level at which versions are stored that are copied to this tier, or ``auto``, or ``off``; only dataflow
    reads what lies in packs or is compressed, so this is for tiers that nothing else reads."""

    def __post_init__(self) -> None:
        check_dataset_name(self.name)
        if self.tier_class not in TIER_CLASSES:
            raise InvalidInputError(
                f"tier {self.name!r} has class {self.tier_class!r}{did_you_mean(self.tier_class, TIER_CLASSES)}"
            )
        if not isinstance(self.pack_below_bytes, int) or self.pack_below_bytes < 0:
            raise InvalidInputError(
                f"tier {self.name!r} has pack_below_bytes {self.pack_below_bytes!r}: give bytes, or 0"
            )
        if self.compress not in ("auto", "off") and (isinstance(self.compress, bool) or self.compress not in LEVELS):
            raise InvalidInputError(
                f"tier {self.name!r} has compress {self.compress!r}: give 'auto', 'off' or a level from -7 to 19"
            )

    @property
    def directory(self) -> Directory:
        """The tier's folder."""
        return Directory.from_url(self.url, self.storage_options, storage_class=self.storage_class)
