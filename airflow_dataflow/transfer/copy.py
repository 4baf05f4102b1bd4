"""Copying files: digest while sending, read back, and nothing at the target that is not whole."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Manifest
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, NotFoundError, TransferError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.digest import CHUNK_BYTES
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.report import Tally, TransferReport

log = logging.getLogger(__name__)

FILES_AT_ONCE = 4
"""Files in flight; each holds a few blocks in memory."""
_TRIES = 3

Item = TypeVar("Item")


def copy_path(
    source: str,
    target: str,
    *,
    source_options: dict[str, Any] | None = None,
    target_options: dict[str, Any] | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy a file, a folder or the files that a pattern names, between any two places.

    Each file appears at the target whole and with the digest that was read at the source. Files that the target
    already has, byte for byte, are left alone, so a second attempt goes on where the first one was killed.
    Manifests follow when everything else is there.

    :param source: URL or local path of a file or folder, or a pattern with ``*``, ``?`` or ``[…]``.
    :param target: URL or local path. A single file goes to this path, or into it where it ends with ``/`` or is a
        folder; all else goes below it, under the path that it has below the source.
    :param source_options: what fsspec's file system of the source takes, credentials included; never logged.
    :param target_options: the same for the target.
    :param progress: told about every file.
    :raises NotFoundError: when the source names no file.
    :raises TransferError: when bytes arrived changed, three times in a row.
    """
    jobs = _plan(source, target, source_options, target_options)
    tally = Tally(f"copy to {target}", sum(job.bytes for job in jobs), progress)
    data = [job for job in jobs if posixpath.basename(job.target_path) != MANIFEST_NAME]
    manifests = [job for job in jobs if posixpath.basename(job.target_path) == MANIFEST_NAME]
    for batch in (data, manifests):
        in_parallel(lambda job: _copy_unless_there(job, tally), batch)
    return tally.report()


@dataclass(frozen=True)
class _Job:
    """One file to copy."""

    source: Directory
    source_path: str
    bytes: int
    target: Directory
    target_path: str


def _plan(
    source: str, target: str, source_options: dict[str, Any] | None, target_options: dict[str, Any] | None
) -> list[_Job]:
    origin = Directory.from_url(source, source_options)
    folder, name = origin.parent()
    kind = _kind(origin)
    if kind == "file":
        goal = Directory.from_url(target, target_options)
        size = int(origin.fs.info(origin.root)["size"])
        if target.endswith("/") or _kind(goal) == "directory":
            return [_Job(folder, name, size, goal, name)]
        goal_folder, goal_name = goal.parent()
        return [_Job(folder, name, size, goal_folder, goal_name)]
    goal = Directory.from_url(target, target_options)
    if kind == "directory":
        return [_Job(origin, path, size, goal, path) for path, size in origin.files().items()]
    base, matches = _matches(origin)
    if not matches:
        raise NotFoundError(f"{source!r} names no file")
    return [_Job(base, path, size, goal, path) for path, size in matches.items()]


def _kind(place: Directory) -> str | None:
    try:
        return str(place.fs.info(place.root)["type"])
    except FileNotFoundError:
        return None


def _matches(pattern: Directory) -> tuple[Directory, dict[str, int]]:
    parts = pattern.root.split("/")
    fixed = next((index for index, part in enumerate(parts) if set(part) & set("*?[")), len(parts) - 1)
    base = Directory(pattern.fs, "/".join(parts[:fixed]) or "/")
    found = pattern.fs.glob(pattern.root, detail=True)
    prefix = base.root.rstrip("/") + "/"
    return base, {
        path[len(prefix) :]: int(info["size"]) for path, info in sorted(found.items()) if info["type"] == "file"
    }


def _copy_unless_there(job: _Job, tally: Tally) -> None:
    if _size(job.target, job.target_path) == job.bytes:
        here, there = job.source.digest(job.source_path), job.target.digest(job.target_path)
        if here == there:
            tally.skipped(job.bytes)
            return
    retrying(lambda: copy_file(job.source, job.source_path, job.target, job.target_path), tally)
    tally.sent(job.bytes)


def _size(place: Directory, path: str) -> int | None:
    try:
        return int(place.fs.info(place.path(path))["size"])
    except FileNotFoundError:
        return None


def copy_version_files(
    manifest: Manifest, source: Directory, target: Directory, *, progress: Progress = no_progress
) -> TransferReport:
    """Copy the files of a version, each verified, and its manifest last.

    :param manifest: the version.
    :param source: its folder here.
    :param target: its folder there.
    :raises InvalidInputError: when ``target`` holds another content under the same version.
    """
    complete = target.exists(MANIFEST_NAME)
    if complete:
        _check_same(manifest, target)
    tally = Tally(f"copy {manifest.reference}", manifest.total_bytes, progress)
    there = target.files()

    def send(entry: FileEntry) -> None:
        if there.get(entry.path) == entry.bytes and target.digest(entry.path)[0] == entry.digest:
            (tally.skipped if complete else tally.resumed)(entry.bytes)
            return
        retrying(lambda: copy_file(source, entry.path, target, entry.path, expected=entry), tally)
        tally.sent(entry.bytes)

    in_parallel(send, manifest.files)
    if not complete:
        with target.create(MANIFEST_NAME) as writer:
            writer.write(manifest.to_bytes())
    return tally.report()


def _check_same(manifest: Manifest, target: Directory) -> None:
    if target.read(MANIFEST_NAME) != manifest.to_bytes():
        raise InvalidInputError(
            f"{target.url} already holds another content of {manifest.reference}; nothing was changed there: "
            "publish to another place, or remove that copy first"
        )


def copy_file(
    source: Directory,
    source_path: str,
    target: Directory,
    target_path: str,
    *,
    expected: FileEntry | None = None,
) -> tuple[str, int]:
    """Copy one file, read it back, and return its digest and size in bytes.

    :param expected: what the source's manifest says of the file; a source that differs is not copied.
    :raises CorruptDataError: when the source is not what ``expected`` says.
    :raises TransferError: when the target reads back differently; it is removed again.
    """
    with source.open(source_path) as reader, target.create(target_path) as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
        sent = (writer.digest, writer.bytes_written)
        if expected is not None and sent != (expected.digest, expected.bytes):
            raise CorruptDataError(
                f"{source.url}/{source_path} has {sent[1]:,} bytes with {sent[0]}, but its manifest says "
                f"{expected.bytes:,} bytes with {expected.digest}; restore it from another copy"
            )
    arrived = target.digest(target_path)
    if arrived != sent:
        target.remove(target_path)
        raise TransferError(
            f"{target.url}/{target_path} reads back as {arrived[1]:,} bytes with {arrived[0]}, "
            f"but {sent[1]:,} bytes with {sent[0]} were sent"
        )
    return sent


def retrying(work: Callable[[], object], tally: Tally) -> None:
    """Do ``work`` again when the network failed it, up to three times in all."""
    for left in reversed(range(_TRIES)):
        try:
            work()
        except TransferError as error:
            if not left:
                raise
            log.warning("%s; sending it again", error)
            tally.retried()
        else:
            return


def in_parallel(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do ``work`` on every item, a few at a time; the first error stops what has not begun."""
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
