"""Whether bytes are what they should be: as they are read, as they arrived, and before they are sent at all."""

from __future__ import annotations

from airflow_dataflow.errors import CorruptDataError
from airflow_dataflow.storage.checksums import Checker, checker
from airflow_dataflow.storage.digest import CHUNK_BYTES, Digest
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.transfer.plan import Job


class SourceCheck:
    """Whether what was read of a file is what its manifest says, or else what its store's own checksum says.

    :param job: the file.
    :param checksum: the store's checksum of it, see :meth:`Backend.checksum`; ``None`` where there is none.
    """

    def __init__(self, job: Job, checksum: str | None) -> None:
        self._job = job
        self._checksum = None if job.expected is not None else checksum
        self.begin()

    def begin(self) -> None:
        """Forget all bytes."""
        self._digest = Digest()
        self._bytes = 0
        self._checker: Checker | None = None if self._checksum is None else checker(self._checksum)

    @property
    def is_needed(self) -> bool:
        """Whether anything is known that the bytes have to fit."""
        return self._job.expected is not None or self._checker is not None

    @property
    def is_sure(self) -> bool:
        """Whether bytes that do not fit are surely not the source's."""
        return self._job.expected is not None or self._checker is None or self._checker.is_sure

    @property
    def digest(self) -> str:
        """Digest of the bytes so far."""
        return str(self._digest)

    def ahead(self, start: int, data: bytes) -> None:
        """Do what can be done with the bytes from ``start`` on before it is their turn to be added."""
        if self._checker is not None:
            self._checker.ahead(start, data)

    def update(self, data: bytes) -> None:
        """Add the next bytes, from the first to the last."""
        self._digest.update(data)
        self._bytes += len(data)
        if self._checker is not None:
            self._checker.update(data)

    def holds(self) -> bool:
        """Tell whether all bytes, which were added, are as they should be; ``True`` where nobody knows."""
        if self._job.expected is not None:
            return (self.digest, self._bytes) == (self._job.expected.digest, self._job.expected.bytes)
        return self._checker is None or self._checker.matches()

    def error(self) -> CorruptDataError:
        """Return what to raise when the source itself is not as it should be."""
        if self._job.expected is not None:
            return corrupt(self._job, (self.digest, self._bytes))
        return CorruptDataError(
            f"{self._job.source.url}/{self._job.source_path} has other bytes than its store's own checksum "
            f"({self._checksum}) says, each time it is read: restore it from another copy"
        )


def corrupt(job: Job, found: tuple[str, int]) -> CorruptDataError:
    """Return the error of a file that is not what its manifest says.

    :param found: its digest and size in bytes.
    """
    expected = job.expected
    assert expected is not None  # noqa: S101 - only files of versions come here
    return CorruptDataError(
        f"{job.source.url}/{job.source_path} has {found[1]:,} bytes with {found[0]}, but its manifest says "
        f"{expected.bytes:,} bytes with {expected.digest}; restore it from another copy"
    )


def is_equal(job: Job) -> bool:
    """Tell whether the target has the file's bytes: by checksums that the stores keep, or else by reading.

    :param job: a file that the target has in the same size.
    """
    if job.expected is not None:
        return job.target.digest(job.target_path)[0] == job.expected.digest
    source, target = (job.source, job.source_path), (job.target, job.target_path)
    if have_one_checksum(*source, *target):
        return True
    # Whoever keeps a checksum that can be recomputed need not send its bytes once more.
    for kept, read in ((target, source), (source, target)):
        fits = _fits(*kept, *read)
        if fits is not None:
            return fits
    return has_equal_bytes(job)


def has_equal_bytes(job: Job) -> bool:
    """Tell whether the target has the file's bytes, by reading both."""
    return job.source.digest(job.source_path) == job.target.digest(job.target_path)


def _fits(kept_by: Directory, kept_path: str, place: Directory, path: str) -> bool | None:
    """Tell whether a file has the checksum that another store keeps, ``None`` where that says nothing for sure."""
    check = checker(kept_by.checksum(kept_path))
    if check is None:
        return None
    with place.open(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            check.update(chunk)
    return check.matches() or (False if check.is_sure else None)


def have_one_checksum(source: Directory, source_path: str, target: Directory, target_path: str) -> bool:
    """Tell whether two files of one kind of store have the checksum in common that it keeps."""
    if type(source.backend) is not type(target.backend):
        return False
    kept = source.checksum(source_path)
    return kept is not None and kept == target.checksum(target_path)


def digest_of_bytes(data: bytes) -> str:
    """Return the digest of bytes in memory."""
    digest = Digest()
    digest.update(data)
    return str(digest)
