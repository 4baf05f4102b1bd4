"""Copying files, folders and versions: verified on both sides, and nothing at the target that is not whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import xxhash

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Manifest
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, NotFoundError
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import DamagedError
from airflow_dataflow.transfer.engine import Engine
from airflow_dataflow.transfer.journal import Journal
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.plan import Job, plan_paths, plan_version
from airflow_dataflow.transfer.report import Tally, TransferReport
from airflow_dataflow.transfer.retry import retrying

StorageOptions = dict[str, Any] | None


def copy_path(
    source: str | Sequence[str],
    target: str,
    *,
    source_options: StorageOptions | Sequence[StorageOptions] = None,
    target_options: StorageOptions = None,
    from_snapshot: bool = False,
    options: TransferOptions | None = None,
    journal: Journal | None = None,
    control: Control | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy files, folders and what patterns name, between any two places.

    Each file appears at the target whole and with the digest that was read at the source, which must not change
    meanwhile. Files that the target already has, byte for byte, are left alone, so a second attempt goes on where the
    first one was killed; with a journal, also inside of large files, and without reading what was copied. Manifests
    follow when everything else is there.

    :param source: URL or local path of a file or folder, or a pattern with ``*``, ``?`` or ``[…]``; or several.
    :param target: URL or local path. A single file goes to this path, or into it where it ends with ``/`` or is a
        folder; all else goes below it, under the path that it has below the source or the pattern's fixed part.
    :param source_options: what fsspec's file system of the source takes, credentials included; never logged. A
        sequence has one for each of several sources.
    :param target_options: the same for the target.
    :param from_snapshot: copy folders as they are at one moment, from snapshots that are removed in the end.
    :param options: how to transfer, e.g. mirror; a dry run returns the report of what would be done.
    :param journal: what earlier attempts have done; cleared in the end.
    :param control: limits, and a stop from outside.
    :param progress: told about every file and part.
    :raises NotFoundError: when the source names no file.
    :raises SourceChangedError: when a file is replaced or removed while it is being copied.
    :raises UnsupportedError: when a snapshot is wanted of a store that has none.
    :raises InvalidInputError: when a mirror would remove too many files, or two sources have a file for one path.
    :raises TransferError: when bytes arrived changed several times in a row, or a connection stayed broken.
    """
    options = options or TransferOptions()
    control = control or Control(base=options.limits)
    names = [source] if isinstance(source, str) else list(source)
    goal = Directory.from_url(target, target_options)
    with ExitStack() as stack:
        origins = {}
        for name, access in zip(names, _each(source_options, len(names)), strict=True):
            origin = Directory.from_url(name, access)
            origins[name] = _kept(origin, goal, stack) if from_snapshot else origin
        into = target.endswith("/") or len(names) > 1
        plan = retrying(partial(plan_paths, origins, goal, into=into, options=options), control)
        tally = Tally(f"copy to {goal.url}", plan.total_bytes, progress)
        engine = Engine(tally, options=options, journal=journal, control=control)
        engine.make_way(goal, plan.in_the_way, plan.folders)
        engine.run((job for job in plan.jobs if not job.is_manifest), packs=plan.is_folder)
        engine.run(job for job in plan.jobs if job.is_manifest)
        engine.remove(goal, plan.removals)
    if journal is not None and not options.dry_run:
        journal.clear()
    return tally.report()


def _each(options: StorageOptions | Sequence[StorageOptions], count: int) -> Sequence[StorageOptions]:
    each = [options] * count if options is None or isinstance(options, dict) else list(options)
    if len(each) != count:
        raise InvalidInputError(f"there are {count} sources, and {len(each)} source_options: give one for each")
    return each


def _kept(origin: Directory, goal: Directory, stack: ExitStack) -> Directory:
    """Return a folder as it is now, in a snapshot that ends with the stack."""
    # The name follows from the target, so that a second attempt finds the snapshot of one that was killed.
    name = f"dataflow-{xxhash.xxh3_64_hexdigest(goal.url.encode())}"
    with errors_explained("the snapshot", origin.backend, origin.root):
        return Directory(origin.fs, stack.enter_context(origin.backend.snapshot(origin.root, name)))


def copy_version_files(
    manifest: Manifest,
    source: Directory,
    target: Directory,
    *,
    share: bool = False,
    options: TransferOptions | None = None,
    journal: Journal | None = None,
    control: Control | None = None,
    progress: Progress = no_progress,
) -> TransferReport:
    """Copy the files of a version, each verified, and its manifest last.

    :param manifest: the version.
    :param source: its folder here.
    :param target: its folder there.
    :param share: let the file system copy where both lie on one; on a local one the two then share their bytes.
    :param options: how to transfer; a dry run returns the report of what would be done.
    :param journal: what earlier attempts have done; the caller clears it when all of its versions are there.
    :param control: limits, and a stop from outside.
    :param progress: told about every file and part.
    :raises InvalidInputError: when ``target`` holds another content under the same version.
    :raises BusyError: when another process is writing there.
    """
    options = options or TransferOptions()
    control = control or Control(base=options.limits)
    tally = Tally(f"copy {manifest.reference}", manifest.total_bytes, progress)
    with target.lock():
        complete = retrying(partial(is_complete, manifest, target), control)
        plan = retrying(partial(plan_version, manifest, source, target, share=share), control)
        engine = Engine(tally, options=options, journal=journal, control=control, resumes=not complete)
        engine.run(plan.jobs, packs=True)
        if not (complete or options.dry_run):
            retrying(lambda: _write_manifest(manifest, source, target), control, tally.retried)
    return tally.report()


def is_complete(manifest: Manifest, target: Directory) -> bool:
    """Tell whether a folder has the manifest of a version, and thus the version.

    :raises InvalidInputError: when it has one of another content.
    """
    for is_last in (False, True):  # twice: what came damaged from its store would be taken for another content
        try:
            existing = Manifest.from_bytes(target.read(MANIFEST_NAME), f"{target.url}/{MANIFEST_NAME}")
        except NotFoundError:
            return False
        except CorruptDataError:
            if is_last:
                raise
        else:
            if existing == manifest:
                return True
    raise InvalidInputError(
        f"{target.url} already holds another content of {manifest.reference}; nothing was changed there: "
        "choose another place, or remove that copy first"
    )


def _write_manifest(manifest: Manifest, source: Directory, target: Directory) -> None:
    data = source.read(MANIFEST_NAME)
    try:
        came_whole = Manifest.from_bytes(data, f"{source.url}/{MANIFEST_NAME}") == manifest
    except CorruptDataError:
        came_whole = False
    if not came_whole:
        raise DamagedError(f"the manifest of {manifest.reference} came damaged from {source.url}")
    try:
        with target.create(MANIFEST_NAME, exclusive=True) as writer:
            writer.write(data)
    except FileExistsError:
        # Another process has copied the same version meanwhile; that is as good, or refused.
        is_complete(manifest, target)
        return
    try:
        arrived_whole = target.read(MANIFEST_NAME) == data
    except DamagedError:
        arrived_whole = False
    if not arrived_whole:
        target.remove(MANIFEST_NAME)
        raise DamagedError(f"the manifest of {manifest.reference} arrived damaged at {target.url}; it was removed")


def copy_file(source: Directory, entry: FileEntry, target: Directory) -> None:
    """Copy one file of a version, verified on both sides.

    :param source: folder of the version here.
    :param entry: what its manifest says of the file.
    :param target: folder of the version there.
    :raises NotFoundError: when the source does not have it.
    :raises CorruptDataError: when the source is not what its manifest says.
    :raises TransferError: when it arrived changed several times.
    """
    size = source.size(entry.path)
    if size is None:
        raise NotFoundError(f"no file {entry.path!r} in {source.url}")
    job = Job(
        source=source,
        source_path=entry.path,
        bytes=size,
        stamp=source.stamp(entry.path),
        target=target,
        target_path=entry.path,
        expected=entry,
    )
    Engine(Tally(f"copy {entry.path}", size, no_progress)).run([job])
