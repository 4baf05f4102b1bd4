"""Formats of raw files: one file each, the folder is the registry.

A reader is a frozen dataclass whose fields are its parameters. Other packages add readers through the entry-point
group ``airflow_dataflow.readers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from airflow_dataflow.ingest.landing import LocalFile, RefusedFileError
from airflow_dataflow.ingest.rejects import Rejects
from airflow_dataflow.registry import Registry

LINE = ""
"""Name of the column that a reader adds: the line, or row number, where a row starts. A real column has a name."""


def check_names(names: Sequence[str]) -> None:
    """Refuse a file whose columns cannot be told apart.

    :raises RefusedFileError: when a name is empty or occurs twice.
    """
    for position, name in enumerate(names, 1):
        if not name:
            raise RefusedFileError(f"column {position} of {len(names)} has no name: name it (pandas: index=False)")
        if names.count(name) > 1:
            raise RefusedFileError(f"column name {name!r} occurs {names.count(name)} times: rename all but one")


class Reader(ABC):
    """Reads one format."""

    suffixes: ClassVar[tuple[str, ...]]
    """Suffixes of file names of this format, lower case, with the dot."""
    text_types: ClassVar[tuple[pa.DataType, ...]] = ()
    """Types that strings of this format may stand for; empty where a string is a string."""

    @abstractmethod
    def read(self, file: LocalFile, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """Yield the good rows in order, a few megabytes at a time, each with its :data:`LINE`.

        Columns and types may differ from batch to batch; names may not be empty or occur twice.

        :param file: the file; its memory use must not depend on its size.
        :param rejects: takes the bad rows.
        :raises RefusedFileError: when the file as a whole is no such file.
        """


READERS: Registry[Reader] = Registry("airflow_dataflow.ingest.readers", "reader", "airflow_dataflow.readers")


def build_readers(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Reader]:
    """Return the readers by suffix.

    :param parameters: parameters by reader name; a reader that is absent has its defaults.
    :raises InvalidInputError: for an unknown reader or parameter.
    """
    for name in parameters:
        READERS.get(name)
    readers = [READERS.build(name, parameters.get(name, {})) for name in READERS.names]
    return {suffix: reader for reader in readers for suffix in reader.suffixes}
