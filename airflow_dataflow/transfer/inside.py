"""Copies inside one store: no byte passes through this machine, and none is read again that need not be."""

from __future__ import annotations

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry
from airflow_dataflow.errors import SourceChangedError
from airflow_dataflow.storage.parts import DamagedError
from airflow_dataflow.transfer.flow import Flow
from airflow_dataflow.transfer.plan import Job
from airflow_dataflow.transfer.retry import retrying
from airflow_dataflow.transfer.verify import corrupt, has_equal_bytes, is_equal


def copy_inside(job: Job, flow: Flow) -> None:
    """Let the store copy a file, and make sure that the copy is as good as it.

    :raises SourceChangedError: when it is no longer what was listed.
    :raises CorruptDataError: when it is not what its manifest says.
    """
    expected, full = job.expected, flow.options.verify == "full"
    if expected is None:
        retrying(lambda: _copy(job, full=full), flow.crew, flow.tally.retried)
    else:
        retrying(lambda: _copy_of_version(job, expected, full=full), flow.crew, flow.tally.retried)
    flow.note(job, job.target.stamp(job.target_path) if flow.takes_notes else None)
    flow.tally.sent(job.bytes)


def _copy(job: Job, *, full: bool) -> None:
    job.source.copy(job.source_path, job.target, job.target_path)
    try:
        job.source.check_pin(job.source_path, job.stamp)
    except SourceChangedError:
        # The store has copied a state of the file that nobody has planned to copy.
        job.target.remove(job.target_path)
        raise
    if not (has_equal_bytes(job) if full else is_equal(job)):
        job.target.remove(job.target_path)
        raise DamagedError(f"{job.target.url}/{job.target_path} reads back differently from what it was copied from")


def _copy_of_version(job: Job, expected: FileEntry, *, full: bool) -> None:
    source, path, target = job.source, job.source_path, job.target
    elsewhere = source.root != target.root
    # All files were read back before the manifest was written. What has not changed since and brings its stored bytes
    # along is as good there as it is here; reading it again would only tell of a decaying disk, which verify looks for.
    known_good = not full and source.is_untouched(path, since=MANIFEST_NAME)
    shared = elsewhere and source.share(path, target, path)
    if elsewhere and not shared:
        source.copy(path, target, path)
    if shared and known_good and target.size(path) == expected.bytes:
        return
    found = target.digest(path)
    if found != (expected.digest, expected.bytes):
        if elsewhere:
            target.remove(path)
        raise corrupt(job, found)
