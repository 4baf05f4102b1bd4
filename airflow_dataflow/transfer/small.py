"""Small files: read at once, and written at once."""

from __future__ import annotations

import logging

from airflow_dataflow.errors import TransferError
from airflow_dataflow.storage.parallel import SMALL_FILE_BYTES
from airflow_dataflow.storage.parts import DamagedError
from airflow_dataflow.transfer.flow import Flow
from airflow_dataflow.transfer.plan import Job
from airflow_dataflow.transfer.retry import DAMAGED_TRIES, retrying
from airflow_dataflow.transfer.verify import SourceCheck, digest_of_bytes

log = logging.getLogger(__name__)


def is_small(job: Job) -> bool:
    """Tell whether a file is better sent at once."""
    return 0 <= job.bytes <= SMALL_FILE_BYTES


def send_small(job: Job, flow: Flow) -> None:
    """Copy a file that fits into memory, verified on both sides.

    :raises SourceChangedError: when it is no longer what was listed.
    :raises CorruptDataError: when it is not what its manifest, or its store, says.
    :raises TransferError: when it arrived damaged several times.
    """
    flow.crew.take(job.bytes)
    stamp = retrying(lambda: _send(job, flow), flow.crew, flow.tally.retried)
    flow.note(job, stamp)
    flow.tally.sent(job.bytes)


def _send(job: Job, flow: Flow) -> str | None:
    """Copy a file once, and return the stamp that it has at the target."""
    data = _read(job, flow)
    stamp = job.target.put(job.target_path, data)
    if not stamp or flow.options.verify == "full":
        _read_back(job, data)
    if isinstance(stamp, str):
        return stamp
    return job.target.stamp(job.target_path) if flow.takes_notes else None


def _read_back(job: Job, data: bytes) -> None:
    sent, arrived = (digest_of_bytes(data), len(data)), job.target.digest(job.target_path)
    if arrived != sent:
        job.target.remove(job.target_path)
        raise DamagedError(
            f"{job.target.url}/{job.target_path} reads back as {arrived[1]:,} bytes with {arrived[0]}, "
            f"but {sent[1]:,} bytes with {sent[0]} were sent"
        )


def _read(job: Job, flow: Flow) -> bytes:
    """Return the bytes of a file as it should be."""
    seems = None if job.stamp is None else job.source.backend.checksum_in(job.stamp)
    check = SourceCheck(job, seems)
    before = None
    for _ in range(DAMAGED_TRIES):
        data = read_part(job, 0, job.bytes)
        check.begin()
        check.update(data)
        if check.holds():
            return data
        if check.digest == before:
            # Accidents on the way do not repeat themselves: this is what the source has.
            _judge(job, data, check)
            return data
        before = check.digest
        log.warning("%s/%s came damaged from its store; reading it again", job.source.url, job.source_path)
        flow.tally.retried()
    raise DamagedError(f"{job.source.url}/{job.source_path} has other bytes each time it is read")


def _judge(job: Job, data: bytes, check: SourceCheck) -> None:
    """Raise an error, unless the file is good, and only what its stamp seemed to say of it is wrong."""
    if job.expected is not None:
        raise check.error()
    sure = SourceCheck(job, job.source.checksum(job.source_path))
    sure.update(data)
    if sure.is_sure and not sure.holds():
        raise sure.error()


def read_part(job: Job, start: int, length: int) -> bytes:
    """Return bytes of the source, as it was when it was listed.

    :raises SourceChangedError: when it is not so any more.
    :raises TransferError: when fewer bytes came than there are.
    """
    if not length:
        return b""
    data = job.source.read_range(job.source_path, start, length, pin=job.stamp)
    if len(data) != length:
        job.source.check_pin(job.source_path, job.stamp)
        raise TransferError(
            f"{job.source.url}/{job.source_path} gave {len(data):,} of {length:,} bytes from {start:,} on"
        )
    return data
