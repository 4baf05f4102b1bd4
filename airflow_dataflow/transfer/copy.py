"""Copying files: digest while sending, read back, and nothing at the target that is not whole."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import xxhash

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Manifest
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, NotFoundError, TransferError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.backends.local import is_partial
from airflow_dataflow.storage.digest import CHUNK_BYTES
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import files_in_parallel
from airflow_dataflow.transfer.report import Tally, TransferReport

log = logging.getLogger(__name__)

_TRIES = 3


def copy_path(
    source: str,
    target: str,
    *,
    source_options: dict[str, Any] | None = None,
    target_options: dict[str, Any] | None = None,
    from_snapshot: bool = False,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy a file, a folder or the files that a pattern names, between any two places.

    Each file appears at the target whole and with the digest that was read at the source. Files that the target
    already has, byte for byte, are left alone, so a second attempt goes on where the first one was killed.
    Manifests follow when everything else is there.

    :param source: URL or local path of a file or folder, or a pattern with ``*``, ``?`` or ``[…]``.
    :param target: URL or local path. A single file goes to this path, or into it where it ends with ``/`` or is a
        folder; all else goes below it, under the path that it has below the source or the pattern's fixed part.
    :param source_options: what fsspec's file system of the source takes, credentials included; never logged.
    :param target_options: the same for the target.
    :param from_snapshot: copy a folder as it is at one moment, from a snapshot that is removed in the end.
    :param progress: told about every file.
    :raises NotFoundError: when the source names no file.
    :raises UnsupportedError: when a snapshot is wanted of a store that has none.
    :raises TransferError: when bytes arrived changed, three times in a row.
    """
    origin, goal = Directory.from_url(source, source_options), Directory.from_url(target, target_options)
    into = target.endswith("/")
    if not from_snapshot:
        return _copy_all(origin, goal, source, progress, into=into)
    # The name follows from the target, so that a second attempt finds the snapshot of one that was killed.
    name = f"dataflow-{xxhash.xxh3_64_hexdigest(goal.url.encode())}"
    with ExitStack() as stack:
        with errors_explained("the snapshot", origin.backend, origin.root):
            kept = stack.enter_context(origin.backend.snapshot(origin.root, name))
        return _copy_all(Directory(origin.fs, kept), goal, source, progress, into=into)


def _copy_all(origin: Directory, goal: Directory, source: str, progress: Progress, *, into: bool) -> TransferReport:
    jobs = _plan(origin, goal, into=into)
    if not jobs:
        raise NotFoundError(f"{source!r} names no file")
    tally = Tally(f"copy to {goal.url}", sum(job.bytes for job in jobs), progress)
    manifests = [job for job in jobs if posixpath.basename(job.target_path) == MANIFEST_NAME]
    for batch in ([job for job in jobs if job not in manifests], manifests):
        files_in_parallel(
            lambda job: _copy_unless_there(job, tally), batch, size=lambda job: job.bytes, places=(origin, goal)
        )
    return tally.report()


@dataclass(frozen=True)
class _Job:
    """One file to copy."""

    source: Directory
    source_path: str
    bytes: int
    target: Directory
    target_path: str


def _plan(origin: Directory, goal: Directory, *, into: bool) -> list[_Job]:
    kind, size = _look(origin)
    if kind == "file":
        folder, name = origin.parent()
        place, path = (goal, name) if into or _look(goal)[0] == "directory" else goal.parent()
        return [_Job(folder, name, size, place, path)]
    base, files = (origin, origin.files()) if kind == "directory" else _matches(origin)
    return [_Job(base, path, size, goal, path) for path, size in files.items()]


def _look(place: Directory) -> tuple[str | None, int]:
    """Return ``"file"``, ``"directory"`` or ``None`` for what the path itself is, and its size in bytes."""
    try:
        with errors_explained("the path", place.backend, place.root):
            info = place.fs.info(place.root)
    except FileNotFoundError:
        return None, 0
    return info["type"], int(info["size"] or 0)


def _matches(pattern: Directory) -> tuple[Directory, dict[str, int]]:
    parts = pattern.root.split("/")
    fixed = next((index for index, part in enumerate(parts) if set(part) & set("*?[")), len(parts) - 1)
    base = Directory(pattern.fs, "/".join(parts[:fixed]))
    with errors_explained("the list of files", pattern.backend, pattern.root):
        found = pattern.fs.glob(pattern.root, detail=True)
    prefix = base.root.rstrip("/") + "/"
    return base, {
        path[len(prefix) :]: int(info["size"])
        for path, info in sorted(found.items())
        if info["type"] == "file" and not is_partial(posixpath.basename(path))
    }


def _copy_unless_there(job: _Job, tally: Tally) -> None:
    if job.target.size(job.target_path) == job.bytes and _is_equal(job):
        tally.skipped(job.bytes)
        return
    _retrying(lambda: copy_file(job.source, job.source_path, job.target, job.target_path, size=job.bytes), tally)
    tally.sent(job.bytes)


def _is_equal(job: _Job) -> bool:
    """Tell whether both files have the same bytes: by checksums that the stores keep, or else by reading them."""
    if type(job.source.backend) is type(job.target.backend):
        kept = job.source.checksum(job.source_path)
        if kept is not None and kept == job.target.checksum(job.target_path):
            return True
    return job.source.digest(job.source_path) == job.target.digest(job.target_path)


def copy_version_files(
    manifest: Manifest,
    source: Directory,
    target: Directory,
    *,
    share: bool = False,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy the files of a version, each verified, and its manifest last.

    :param manifest: the version.
    :param source: its folder here.
    :param target: its folder there.
    :param share: let the file system copy where both lie on one; on a local one the two then share their bytes.
    :raises InvalidInputError: when ``target`` holds another content under the same version.
    :raises BusyError: when another process is writing there.
    """
    tally = Tally(f"copy {manifest.reference}", manifest.total_bytes, progress)
    inside = share and source.fs == target.fs
    with target.lock():
        complete = _is_complete(manifest, target)
        there = target.files()

        def send(entry: FileEntry) -> None:
            if there.get(entry.path) == entry.bytes and target.digest(entry.path)[0] == entry.digest:
                (tally.skipped if complete else tally.resumed)(entry.bytes)
                return
            _retrying(lambda: _send(entry, source, target, inside=inside), tally)
            tally.sent(entry.bytes)

        files_in_parallel(send, manifest.files, size=lambda entry: entry.bytes, places=(source, target))
        if not complete:
            _write_manifest(manifest, source, target)
    return tally.report()


def _is_complete(manifest: Manifest, target: Directory) -> bool:
    try:
        existing = Manifest.from_bytes(target.read(MANIFEST_NAME), f"{target.url}/{MANIFEST_NAME}")
    except NotFoundError:
        return False
    if existing != manifest:
        raise InvalidInputError(
            f"{target.url} already holds another content of {manifest.reference}; nothing was changed there: "
            "choose another place, or remove that copy first"
        )
    return True


def _write_manifest(manifest: Manifest, source: Directory, target: Directory) -> None:
    try:
        with target.create(MANIFEST_NAME, exclusive=True) as writer:
            writer.write(source.read(MANIFEST_NAME))
    except FileExistsError:
        # Another process has copied the same version meanwhile; that is as good, or refused.
        _is_complete(manifest, target)


def _send(entry: FileEntry, source: Directory, target: Directory, *, inside: bool) -> None:
    if not inside:
        copy_file(source, entry.path, target, entry.path, size=entry.bytes, expected=entry)
        return
    elsewhere = source.root != target.root
    # All files were read back before the manifest was written. What has not changed since and brings its stored bytes
    # along is as good there as it is here; reading it again would only tell of a decaying disk, which verify looks for.
    known_good = source.is_untouched(entry.path, since=MANIFEST_NAME)
    shared = elsewhere and source.share(entry.path, target, entry.path)
    if elsewhere and not shared:
        source.copy(entry.path, target, entry.path)
    if shared and known_good and target.size(entry.path) == entry.bytes:
        return
    found = target.digest(entry.path)
    if found != (entry.digest, entry.bytes):
        if elsewhere:
            target.remove(entry.path)
        raise _corrupt(source, entry, found)


def copy_file(
    source: Directory,
    source_path: str,
    target: Directory,
    target_path: str,
    *,
    size: int = 0,
    expected: FileEntry | None = None,
) -> tuple[str, int]:
    """Copy one file, read it back, and return its digest and size in bytes.

    :param size: bytes to expect, as far as they are known.
    :param expected: what the source's manifest says of the file; a source that differs is not copied.
    :raises CorruptDataError: when the source is not what ``expected`` says.
    :raises TransferError: when the target reads back differently; it is removed again.
    """
    with source.open(source_path) as reader, target.create(target_path, expected_bytes=size) as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
        sent = (writer.digest, writer.bytes_written)
        if expected is not None and sent != (expected.digest, expected.bytes):
            raise _corrupt(source, expected, sent)
    arrived = target.digest(target_path)
    if arrived != sent:
        target.remove(target_path)
        raise TransferError(
            f"{target.url}/{target_path} reads back as {arrived[1]:,} bytes with {arrived[0]}, "
            f"but {sent[1]:,} bytes with {sent[0]} were sent"
        )
    return sent


def _corrupt(source: Directory, entry: FileEntry, found: tuple[str, int]) -> CorruptDataError:
    return CorruptDataError(
        f"{source.url}/{entry.path} has {found[1]:,} bytes with {found[0]}, but its manifest says "
        f"{entry.bytes:,} bytes with {entry.digest}; restore it from another copy"
    )


def _retrying(work: Callable[[], object], tally: Tally) -> None:
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
