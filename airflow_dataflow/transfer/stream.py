"""Large files from or to stores that have no parts: one stream, from the first byte to the last."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

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
    size, stamp = retrying(lambda: _send(job, flow, SourceCheck(job, checksum), seen), flow.crew, flow.tally.retried)
    flow.note(job, stamp)
    flow.tally.sent(size)


def _send(job: Job, flow: Flow, check: SourceCheck, seen: list[str]) -> tuple[int, str | None]:
    """Copy a file once, and return its size, and the stamp that it has at the target.

    :param seen: digests of what was read before and was not as it should be; two equal ones are no accident.
    """
    with job.target.create(job.target_path, expected_bytes=max(0, job.bytes)) as writer:
        for data in _ranges(job, flow) if job.has_ranges else _pieces(job, flow):
            check.update(data)
            writer.write(data)
        _check_size(job, writer.bytes_written)
        if not check.holds():
            if check.digest in seen and check.is_sure:
                raise check.error()
            if check.digest not in seen:
                seen.append(check.digest)
                raise DamagedError(f"{job.source.url}/{job.source_path} came damaged from its store")
        job.source.check_pin(job.source_path, job.stamp)
    size, arrived = writer.bytes_written, job.target.digest(job.target_path)
    if arrived != (check.digest, size):
        job.target.remove(job.target_path)
        raise DamagedError(
            f"{job.target.url}/{job.target_path} reads back as {arrived[1]:,} bytes with {arrived[0]}, "
            f"but {size:,} bytes with {check.digest} were sent"
        )
    return size, job.target.stamp(job.target_path) if flow.takes_notes else None


def _ranges(job: Job, flow: Flow) -> Iterator[bytes]:
    """Yield the bytes of a source, of which each range can be asked for again."""
    for start in range(0, job.bytes, STREAM_RANGE_BYTES):
        length = min(STREAM_RANGE_BYTES, job.bytes - start)
        flow.crew.take(length)
        yield retrying(partial(read_part, job, start, length), flow.crew, flow.tally.retried)


def _pieces(job: Job, flow: Flow) -> Iterator[bytes]:
    """Yield the bytes of a source that is read in one go."""
    with job.source.open(job.source_path) as reader:
        while data := reader.read(STREAM_RANGE_BYTES):
            flow.crew.take(len(data))
            yield data


def _check_size(job: Job, size: int) -> None:
    if job.bytes not in (-1, size):
        job.source.check_pin(job.source_path, job.stamp)
        raise DamagedError(f"{job.source.url}/{job.source_path} gave {size:,} of {job.bytes:,} bytes")
