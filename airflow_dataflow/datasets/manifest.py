"""The manifest of a version: what it holds, where it came from, and that it is whole."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_dataflow.datasets.name import check_dataset_name, check_version_id
from airflow_dataflow.errors import CorruptDataError, InvalidInputError

MANIFEST_NAME = "_manifest.json"

Kind = Literal["dataset", "model"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Strict):
    """One file of a version."""

    path: str
    """Path relative to the version's folder, with ``/``."""
    bytes: int = Field(ge=0)
    """Size in bytes."""
    digest: str = Field(pattern=r"^xxh3-128:[0-9a-f]{32}$")
    """``xxh3-128:`` and 32 hexadecimal digits, of the whole file."""
    rows: int | None = None
    """Rows of a table file, ``None`` for any other file."""


def _printable(value: str) -> str:
    """Return ``value`` with the bytes that are no text spelled out, as file systems may have them in names."""
    return value.encode("utf-8", "backslashreplace").decode()


class SourceFile(_Strict):
    """One file that was read to make a version."""

    path: Annotated[str, AfterValidator(_printable)]
    """Name that a person recognises: path below the source, or path below the parent version."""
    digest: str
    """Digest of its content; the key by which a later run knows the file again."""
    bytes: int = 0
    """Size in bytes."""
    rows_in: int = 0
    """Rows found in it."""
    rows_out: int = 0
    """Rows of it that this version keeps."""
    rows_quarantined: int = 0
    """Rows of it in this version's quarantine."""
    reason: str | None = None
    """Why the file as a whole was refused; ``None`` for a file that was read."""
    outputs: tuple[str, ...] = ()
    """Paths of the files of this version that were made from it alone."""
    carried_from: str | None = None
    """Version id whose outputs were carried over unread; ``None`` when this version read the file itself."""


class Rows(_Strict):
    """Row counts; every row that came in is either kept or in the quarantine."""

    rows_in: int = Field(default=0, ge=0)
    """Rows read from the sources or parents."""
    rows_out: int = Field(default=0, ge=0)
    """Rows of the version."""
    rows_quarantined: int = Field(default=0, ge=0)
    """Rows in the version's quarantine."""
    quarantined_by_reason: dict[str, int] = Field(default_factory=dict)
    """Quarantined rows by reason; the counts add up to ``rows_quarantined``."""

    @model_validator(mode="after")
    def _balance(self) -> Self:
        if self.rows_in != self.rows_out + self.rows_quarantined:
            raise ValueError(f"{self.rows_in} rows in, but {self.rows_out} out and {self.rows_quarantined} quarantined")
        if sum(self.quarantined_by_reason.values()) != self.rows_quarantined:
            raise ValueError(f"reasons do not add up to {self.rows_quarantined} quarantined rows")
        return self


class Manifest(Rows):
    """Description of one version, stored in its folder as ``_manifest.json`` and written last."""

    format_version: Literal[1] = 1
    dataset: str
    version: str
    kind: Kind = "dataset"
    fingerprint: str
    """SHA-256 of everything that decides the content: parents, recipe, parameters, code version."""
    parents: tuple[str, ...] = ()
    """Fixed references of the versions that this one was made from."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Column name to Arrow type, of the files under ``data/``."""
    recipe: dict[str, Any] | None = None
    """The recipe or parameters that made the version."""
    sources: tuple[SourceFile, ...] = ()
    statistics: dict[str, Any] = Field(default_factory=dict)
    """What was measured on the way: missing values, outliers, fitted values, metrics."""
    files: tuple[FileEntry, ...] = ()
    """Every file of the version but the manifest itself, sorted by path."""

    @model_validator(mode="after")
    def _check_identity(self) -> Self:
        check_dataset_name(self.dataset)
        check_version_id(self.version)
        paths = [entry.path for entry in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is listed twice")
        return self

    @property
    def reference(self) -> str:
        """Fixed reference of the version, e.g. ``support/dialogs@20261123T021500Z-4f2a9c``."""
        return f"{self.dataset}@{self.version}"

    @property
    def created_at(self) -> datetime:
        """Moment that the version id names."""
        return datetime.strptime(self.version[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    @property
    def total_bytes(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.bytes for entry in self.files)

    def files_under(self, folder: str) -> tuple[FileEntry, ...]:
        """Return the entries whose path starts with ``folder/``."""
        return tuple(entry for entry in self.files if entry.path.startswith(f"{folder}/"))

    def to_bytes(self) -> bytes:
        """Return the JSON text that is stored; equal manifests give equal bytes."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Read a stored manifest.

        :param data: content of ``_manifest.json``.
        :param where: URL of the file, for the error message.
        :raises CorruptDataError: when it is not a manifest.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise CorruptDataError(f"{where} is not a manifest: {error}") from error


def fingerprint_of(content: Any) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of JSON-like ``content``, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def new_version_id(at: datetime, fingerprint: str) -> str:
    """Return the id of a version: the second it belongs to, then six digits of its fingerprint.

    :param at: moment the version belongs to; in a DAG the run's own time, so that a retry gets the same id.
    :param fingerprint: see :func:`fingerprint_of`.
    :raises InvalidInputError: when ``at`` has no time zone, since a machine's own zone must not decide.
    """
    if at.tzinfo is None:
        raise InvalidInputError(f"the moment of a version needs a time zone, got {at.isoformat()}")
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{fingerprint[:6]}"
