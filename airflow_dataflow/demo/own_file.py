"""A person's own file as the demo's input: checked before anything starts, then copied to a landing folder."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from airflow_dataflow.datasets.name import check_dataset_name
from airflow_dataflow.demo.options import DemoOptions
from airflow_dataflow.errors import InvalidInputError, MissingColumnError, NotFoundError, did_you_mean
from airflow_dataflow.ingest.landing import LocalFile
from airflow_dataflow.ingest.readers import LINE, build_readers
from airflow_dataflow.ingest.rejects import Rejects
from airflow_dataflow.storage.listing import COMPRESSIONS

_ORIGIN = ".origin"


@dataclass(frozen=True)
class OwnFile:
    """A file that has the columns that a run needs."""

    path: Path
    """Absolute path."""
    text: str
    label: str
    id: str | None

    @property
    def recipe(self) -> dict[str, Any]:
        """A recipe that keeps whatever a model can learn from, short texts of any language included."""
        return {
            **({"id": self.id} if self.id else {}),
            "text": self.text,
            "label": self.label,
            "rules": [
                {"not_null": {"columns": [self.text, self.label]}},
                {"mask_pii": {}},
                {"text_length": {"min_chars": 2}},
                {"exact_duplicates": {}},
            ],
            "features": [{"text_statistics": {}}, {"hashed_tfidf": {"ngram_max": 2, "sublinear": True}}],
        }

    def land(self, landing: Path) -> tuple[str, Path]:
        """Copy the file to a folder of its own below ``landing``.

        The folder and the dataset are named after the file, and numbered when another file took the name first.

        :returns: the dataset's name and the folder.
        """
        for number in count(1):
            dataset = dataset_name(self.path) + (f"-{number}" if number > 1 else "")
            folder = landing / dataset
            origin = folder / _ORIGIN
            if not origin.exists() or origin.read_text(encoding="utf-8") == str(self.path):
                break
        folder.mkdir(parents=True, exist_ok=True)
        origin.write_text(str(self.path), encoding="utf-8")
        shutil.copyfile(self.path, folder / _visible(self.path.name))
        return dataset, folder


def check_own_file(options: DemoOptions) -> OwnFile:
    """Look at the first rows of the file that the options name.

    :raises NotFoundError: when there is no such file.
    :raises InvalidInputError: when it is of no format that can be read.
    :raises MissingColumnError: when a column is not in it, with the closest one.
    """
    path = Path(options.input or "").expanduser().absolute()
    text, label = options.text or "", options.label or ""
    columns = read_columns(path)
    for role, column in (("text", text), ("label", label), ("id", options.id)):
        if column is not None and column not in columns:
            raise MissingColumnError(f"{path.name} has no {role} column {column!r}{did_you_mean(column, columns)}")
    if text == label:
        raise InvalidInputError(f"text and label are both {text!r}: a model cannot predict a column from itself")
    return OwnFile(path, text, label, options.id)


def read_columns(path: Path) -> list[str]:
    """Return the names of a file's columns, as the first rows show them."""
    if path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is a folder: name one file")
    if not path.exists():
        raise NotFoundError(f"no file {str(path)!r}")
    file = LocalFile(path.name, path)
    readers = build_readers({})
    if file.suffix not in readers:
        raise InvalidInputError(
            f"{path.name!r} is of no format that can be read: its name has to end in {', '.join(sorted(readers))}, "
            f"maybe followed by {', '.join(COMPRESSIONS)}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        for batch in readers[file.suffix].read(file, Rejects(path.name, Path(scratch, "rejects"))):
            return [name for name in batch.schema.names if name != LINE]
    raise InvalidInputError(f"{path.name!r} has no row that can be read")


def dataset_name(path: Path) -> str:
    """Return a valid dataset name that resembles a file's name."""
    stem = path.name.lstrip(".").split(".")[0]
    name = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")
    return check_dataset_name(name or "own-file")


def _visible(name: str) -> str:
    return name.lstrip("._") or name
