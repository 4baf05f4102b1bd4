"""Large files to stores that take no parts: one stream, from ranges of the source."""

from __future__ import annotations

from airflow_dataflow.storage.parts import DamagedError
from airflow_dataflow.transfer.flow import Flow
from airflow_dataflow.transfer.plan import Job
from airflow_dataflow.transfer.retry import retrying
from airflow_dataflow.transfer.small import read_part
from airflow_dataflow.transfer.verify import SourceCheck

STREAM_RANGE_BYTES = 8 << 20
"""What is read of the source at a time."""


def send_stream(job: Job, flow: Flow) -> None:
    """Copy a file from its first byte to its last, read it back, and do so again when anything went wrong.

    :raises SourceChangedError: when it is no longer what was listed.
    :raises CorruptDataError: when it is not what its manifest, or its store, says.
    :raises TransferError: when it arrived damaged several times.
    """
    checksum = None if job.expected is not None else job.source.checksum(job.source_path)
    seen: list[str] = []
    stamp = retrying(lambda: _send(job, flow, SourceCheck(job, checksum), seen), flow.crew, flow.tally.retried)
    flow.note(job, stamp)
    flow.tally.sent(job.bytes)


def _send(job: Job, flow: Flow, check: SourceCheck, seen: list[str]) -> str | None:
    """Copy a file once, and return the stamp that it has at the target.

    :param seen: digests of what was read before and was not as it should be; two equal ones are no accident.
    """
    with job.target.create(job.target_path, expected_bytes=job.bytes) as writer:
        for start in range(0, job.bytes, STREAM_RANGE_BYTES):
            length = min(STREAM_RANGE_BYTES, job.bytes - start)
            flow.crew.take(length)
            data = retrying(lambda start=start, length=length: read_part(job, start, length), flow.crew)
            check.update(data)
            writer.write(data)
        if not check.holds():
            if check.digest in seen and check.is_sure:
                raise check.error()
            if check.digest not in seen:
                seen.append(check.digest)
                raise DamagedError(f"{job.source.url}/{job.source_path} came damaged from its store")
        job.source.check_pin(job.source_path, job.stamp)
    arrived = job.target.digest(job.target_path)
    if arrived != (check.digest, job.bytes):
        job.target.remove(job.target_path)
        raise DamagedError(
            f"{job.target.url}/{job.target_path} reads back as {arrived[1]:,} bytes with {arrived[0]}, "
            f"but {job.bytes:,} bytes with {check.digest} were sent"
        )
    return job.target.stamp(job.target_path) if flow.takes_notes else None
