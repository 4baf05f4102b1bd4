"""Large files: sent in parts by many workers, and resumed part by part."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial

from airflow_dataflow.errors import CorruptDataError, SourceChangedError, StorageFullError
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.parts import DamagedError, LostUploadError, Parts, Upload
from airflow_dataflow.transfer.flow import Flow
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.plan import Job
from airflow_dataflow.transfer.retry import DAMAGED_TRIES, Result, retrying
from airflow_dataflow.transfer.small import read_part
from airflow_dataflow.transfer.verify import SourceCheck, digest_of_bytes

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
"""Longest time between two looks at whether the transfer goes on."""
_USELESS_AFTER = (CorruptDataError, SourceChangedError, StorageFullError)
"""Errors after which nobody goes on with the parts that are at the target, which take space there."""


class FileInParts:
    """A file on its way to the target.

    Parts are read, and written, by many workers at once. What all bytes together have to fit is fed with them in order,
    so a worker waits until those before it have read their parts.

    :param job: the file.
    :param flow: the transfer that it belongs to.
    """

    def __init__(self, job: Job, flow: Flow) -> None:
        self._job = job
        self._flow = flow
        self._order = _Order(flow.crew.check)
        self._lock = threading.Lock()
        self._sent: dict[int, tuple[str, str]] = {}
        self._left = 0
        self._looked = False
        self._unseen = False
        self._doubtful = False
        self._lost: list[int] = []
        self._upload: Upload
        self._parts: Parts
        self._check: SourceCheck

    def begin(self) -> Iterator[Callable[[], None]]:
        """Begin the file, or take up what an earlier attempt has left of it, and return the work on its parts."""
        checksum = None
        if self._job.expected is None:
            checksum = self._retrying(lambda: self._job.source.checksum(self._job.source_path))
        self._check = SourceCheck(self._job, checksum)
        if not self._resume():
            self._begin()
        self._left = self._parts.count
        return (partial(self._do, number) for number in range(self._parts.count))

    def abandon(self, error: BaseException) -> None:
        """Remove what is at the target, unless the next attempt will go on with it."""
        if self._left and (not self._flow.takes_notes or isinstance(error, _USELESS_AFTER)):
            with suppress(Exception):
                self._upload.discard()

    # uploads ----------------------------------------------------------------------------------

    def _resume(self) -> bool:
        """Take up the upload of an earlier attempt, or remove it when it is of no use."""
        job, note = self._job, self._flow.known.get(self._job.key)
        if note is None or note.handle is None:
            return False
        upload = self._retrying(partial(job.target.resume_upload, job.target_path, note.handle))
        if upload is None:
            return False
        if job.stamp is None or (note.source_stamp, note.bytes) != (job.stamp, job.bytes) or note.part_bytes < 1:
            with suppress(OSError), self._explained():
                upload.discard()
            return False
        self._upload, self._parts = upload, Parts(job.bytes, note.part_bytes)
        self._sent = {number: part for number, part in note.parts.items() if 0 <= number < self._parts.count}
        return True

    def _begin(self) -> None:
        job = self._job
        part_bytes = job.target.backend.part_bytes(job.bytes) or job.bytes
        begin = partial(job.target.begin_upload, job.target_path, size=job.bytes, part_bytes=part_bytes)
        self._parts, self._upload = Parts(job.bytes, part_bytes), self._retrying(begin)
        self._sent, self._unseen, self._lost = {}, False, []
        self._note()

    def _note(self) -> None:
        if self._flow.takes_notes:
            progress = FileProgress(
                source_stamp=self._job.stamp,
                bytes=self._job.bytes,
                part_bytes=self._parts.part_bytes,
                handle=self._upload.handle,
                parts=self._sent,
            )
            self._flow.journal.save({self._job.key: progress})

    # parts ------------------------------------------------------------------------------------

    def _do(self, number: int) -> None:
        size = self._parts.length(number)
        if self._keep(number):
            self._flow.tally.part_resumed(size)
        else:
            self._flow.crew.take(size)
            self._send(number)
            self._flow.tally.part_sent(size)
        if self._is_last():
            self._end()

    def _is_last(self) -> bool:
        """Count a piece of work that is done, and tell whether only the end of the file is left."""
        with self._lock:
            is_last = self._left == 1
            self._left -= not is_last
        return is_last

    def _end(self) -> None:
        """Look at all parts once more, by many workers, where somebody has to; then end the file."""
        if self._looks_back and not self._looked:
            self._looked, self._left = True, self._parts.count
            self._flow.crew.add(partial(self._look_at, number) for number in range(self._parts.count))
            return
        self._finish()
        self._left = 0

    def _keep(self, number: int) -> bool:
        """Tell whether the target has the part whole from an earlier attempt."""
        if number not in self._sent:
            return False
        if not self._check.is_needed:
            return not self._looks_back or self._arrived(number)
        data = self._upload_read(number) if self._looks_back else None
        if data is None:
            data = self._read(number)
        if digest_of_bytes(data) != self._sent[number][1]:
            return False
        with self._turn(number):
            self._check.update(data)
        return True

    def _send(self, number: int) -> None:
        data = self._read(number)
        self._check.ahead(self._parts.start(number), data)
        with self._turn(number):
            if self._check.is_needed:
                self._check.update(data)
            if self._upload.in_order:
                self._put(number, data)
        if not self._upload.in_order:
            self._put(number, data)

    def _look_at(self, number: int) -> None:
        """Make sure that the target has a part as it was sent, or send it again."""
        if not self._arrived(number):
            log.warning("part %d of %s reads back differently; sending it again", number, self._where)
            self._lost.append(number)
            if not self._upload.in_order:
                self._flow.tally.retried()
                data = self._read(number)
                # What was read first, or what was read now, came damaged.
                self._doubtful |= digest_of_bytes(data) != self._sent[number][1]
                self._put_and_look(number, data)
        if self._is_last():
            self._end()

    def _turn(self, number: int) -> AbstractContextManager[None]:
        """Wait for the parts before this one, if somebody has to have them in order."""
        return self._order.turn(number) if self._check.is_needed or self._upload.in_order else nullcontext()

    def _read(self, number: int) -> bytes:
        start, length = self._parts.start(number), self._parts.length(number)
        return self._retrying(lambda: read_part(self._job, start, length), self._flow.tally.retried)

    def _put(self, number: int, data: bytes) -> None:
        token = self._retrying(lambda: self._upload.put(number, data), self._flow.tally.retried)
        with self._lock:
            self._sent[number] = (token, digest_of_bytes(data))
        self._note()

    def _put_and_look(self, number: int, data: bytes) -> None:
        """Send a part that nobody will look at later."""

        def put() -> None:
            self._put(number, data)
            if self._looks_back and not self._arrived(number):
                raise DamagedError(f"part {number} of {self._where} reads back differently")

        self._retrying(put, self._flow.tally.retried)

    @property
    def _looks_back(self) -> bool:
        """Whether parts have to be read back, as the target does not check what arrives."""
        return not self._upload.verifies or self._flow.options.verify == "full"

    def _arrived(self, number: int) -> bool:
        """Tell whether the target has a part as it was sent; where it cannot be seen yet, :meth:`_look` will."""
        data = self._upload_read(number)
        return data is None or digest_of_bytes(data) == self._sent[number][1]

    def _upload_read(self, number: int) -> bytes | None:
        data = self._retrying(partial(self._upload.read, number))
        self._unseen |= data is None
        return data

    # the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        for left in reversed(range(DAMAGED_TRIES)):
            try:
                self._check_source()
                self._check_order()
                self._publish()
                break
            except (DamagedError, LostUploadError) as error:
                if not left:
                    raise
                log.warning("%s; sending all of it again", error)
                self._send_again()
        stamp = self._retrying(lambda: self._job.target.stamp(self._job.target_path))
        self._flow.note(self._job, stamp)
        self._flow.tally.whole()

    def _check_source(self) -> None:
        """Make sure that what was read is what the source has; send again what was damaged on the way."""
        for _ in range(DAMAGED_TRIES):
            if self._check.holds() and not self._doubtful:
                return
            self._doubtful = False
            if not self._mend():
                if self._check.is_sure and not self._check.holds():
                    raise self._check.error()
                return
        raise DamagedError(f"{self._job.source.url}/{self._job.source_path} has other bytes each time it is read")

    def _check_order(self) -> None:
        """Give up an upload in which a part is damaged that cannot be written again without those after it."""
        if self._lost and self._upload.in_order:
            raise DamagedError(f"part {self._lost[0]} of {self._where} reads back differently")

    def _mend(self) -> bool:
        """Read the source once more, send what differs from what was sent, and tell whether anything did."""
        differs = False
        self._check.begin()
        for number in range(self._parts.count):
            self._flow.crew.check()
            data = self._read(number)
            self._check.update(data)
            if digest_of_bytes(data) == self._sent[number][1]:
                continue
            log.warning("part %d of %s came damaged from its source; sending it again", number, self._where)
            self._flow.tally.retried()
            differs = True
            if not self._upload.in_order:
                self._put_and_look(number, data)
        if differs and self._upload.in_order:
            self._send_again()
        return differs

    def _send_again(self) -> None:
        """Send all parts in a new upload."""
        with suppress(Exception):
            self._upload.discard()
        self._begin()
        self._check.begin()
        for number in range(self._parts.count):
            self._flow.crew.take(self._parts.length(number))
            data = self._read(number)
            self._check.update(data)
            self._flow.tally.retried()
            self._put_and_look(number, data)

    def _publish(self) -> None:
        job = self._job
        self._retrying(lambda: job.source.check_pin(job.source_path, job.stamp))
        tokens = [self._sent[number][0] for number in range(self._parts.count)]
        self._retrying(lambda: self._upload.publish(tokens))
        if self._unseen:
            self._look()

    def _look(self) -> None:
        """Compare what the target has with what was sent, where it could not be seen before."""
        target, path = self._job.target, self._job.target_path
        for number in range(self._parts.count):
            self._flow.crew.check()
            start, length = self._parts.start(number), self._parts.length(number)
            data = self._retrying(partial(target.read_range, path, start, length))
            if digest_of_bytes(data) != self._sent[number][1]:
                target.remove(path)
                raise DamagedError(f"part {number} of {self._where} reads back differently")

    @property
    def _where(self) -> str:
        return f"{self._job.target.url}/{self._job.target_path}"

    def _retrying(self, work: Callable[[], Result], on_retry: Callable[[], object] | None = None) -> Result:
        def explained() -> Result:
            with self._explained():
                return work()

        return retrying(explained, self._flow.crew, on_retry)

    def _explained(self) -> AbstractContextManager[None]:
        job = self._job
        return errors_explained(job.target_path, job.target.backend, job.key)


class _Order:
    """The order in which the parts of a file are looked at.

    :param check: raises an error when it is of no use to wait any longer.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._changed = threading.Condition()
        self._next = 0

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait for all parts before ``number``, and let the next one pass when the block ends without an error."""
        with self._changed:
            while self._next != number:
                self._changed.wait(_WAIT_SECONDS)
                self._check()
        yield
        with self._changed:
            self._next += 1
            self._changed.notify_all()
