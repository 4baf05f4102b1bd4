"""The folder that a Spark application works in, and how inputs get in and outputs get out."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from airflow_dataflow.datasets.manifest import FileEntry
from airflow_dataflow.errors import AccessDeniedError
from airflow_dataflow.storage.digest import CHUNK_BYTES
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.draft import VersionDraft

_PREFIX = "_work-"
# Spark takes these characters of a path as a pattern, a list or an escape.
_SPECIAL = re.compile(r"[{}\[\]*?\\,:%#]")


@contextmanager
def work_folder(draft: VersionDraft) -> Iterator[Path]:
    """Make an empty folder on this machine, and remove it at the end.

    It lies inside the unfinished version, so that the next attempt, or sweeping the store, removes what a killed
    process leaves. Where that is no place for Spark it lies among the temporary files, under a name by which the next
    attempt finds it. No two attempts have the same folder: an application that outlives its task writes into nothing.
    """
    with _home(draft) as home:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _home(draft: VersionDraft) -> Iterator[str]:
    root = draft.directory.root
    if draft.sole and draft.directory.is_local and not _SPECIAL.search(root):
        Path(root).mkdir(parents=True, exist_ok=True)
        yield root
        return
    temporary = Path(tempfile.gettempdir(), f"airflow-dataflow-{os.getuid()}")
    temporary.mkdir(mode=0o700, exist_ok=True)
    if temporary.lstat().st_uid != os.getuid():
        raise AccessDeniedError(f"{temporary} belongs to another user; set TMPDIR to a folder of your own")
    name = f"{draft.dataset.replace('/', '.')}@{draft.version}"
    place = Directory.from_url(str(temporary / name))
    with place.lock():
        place.remove_all()
        Path(place.root).mkdir()
        try:
            yield place.root
        finally:
            place.remove_all()


def bring_in(directory: Directory, files: Mapping[Path, FileEntry]) -> None:
    """Make files of a version available at local paths: linked where they lie on this machine, copied otherwise.

    :param directory: the version's folder.
    :param files: the wanted path of each file.
    """
    for target, entry in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if directory.is_local and not directory.is_packed(entry.path):
            target.symlink_to(directory.hand_out(entry.path, expected_bytes=entry.bytes))
            continue
        with directory.open(entry.path) as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, CHUNK_BYTES)


def take_over(draft: VersionDraft, folder: Path) -> None:
    """Copy every file below ``folder`` into the version, with the rows of tables."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as reader, draft.create(file.relative_to(folder).as_posix()) as writer:
            shutil.copyfileobj(reader, writer, CHUNK_BYTES)
            if file.parent.name == "predictions":
                writer.rows = pq.read_metadata(file).num_rows
