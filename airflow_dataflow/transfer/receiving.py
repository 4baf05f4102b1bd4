"""What one site does in a replication: receive every piece of a version, pass it on, verify it, show it in the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Manifest
from airflow_dataflow.errors import CorruptDataError, TransferError
from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import in_parallel
from airflow_dataflow.storage.parts import DamagedError, Upload
from airflow_dataflow.storage.staging import Staging
from airflow_dataflow.transfer.copy import is_complete
from airflow_dataflow.transfer.journal import FileProgress, Journal
from airflow_dataflow.transfer.large_file import BrokenError, LargeFile, Stream
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.report import Tally
from airflow_dataflow.transfer.retry import DAMAGED_TRIES, retrying
from airflow_dataflow.transfer.sending import Piece, Senders, parts_of, pieces_of

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Receiver:
    """Receives a version at one site.

    :param manifest: the version.
    :param name: name of the site.
    :param place: the version's folder there.
    :param senders: where the pieces come from.
    :param staging: where parts are passed on; ``None`` where nobody waits for them.
    :param journal: remembers how far uploads are, so that nothing is sent again.
    :param control: ends the work.
    :param at_once: pieces in flight at a time.
    :param tally: counts the bytes.
    """

    def __init__(
        self,
        manifest: Manifest,
        name: str,
        place: Directory,
        senders: Senders,
        *,
        staging: Staging | None,
        journal: Journal,
        control: Control,
        at_once: int,
        tally: Tally,
    ) -> None:
        self._manifest = manifest
        self._name = name
        self._place = place
        self._senders = senders
        self._staging = staging
        self._journal = journal
        self._control = control
        self._at_once = at_once
        self._tally = tally
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._large: dict[str, LargeFile] = {}
        self._known: dict[str, FileProgress] = {}
        self._staged: dict[str, int] = {}

    def run(self) -> None:
        """Receive all that is missing, and then the manifest: from then on the site has the version.

        :raises InvalidInputError: when the site holds another content under the same version.
        :raises BusyError: when another process is writing there.
        :raises CorruptDataError: when the source is not what its manifest says.
        """
        with self._place.lock():
            complete = self._trying(lambda: is_complete(self._manifest, self._place))
            if self._staging is not None and not complete:
                self._trying(self._staging.unmark_failed)
                self._staged = self._trying(self._staging.parts)
            self._known = {} if complete else self._journal.load()
            there = self._find(complete=complete)
            missing = (piece for piece in pieces_of(self._manifest) if piece.entry.path not in there)
            self._work_off(missing)
            if not complete:
                self._trying(self._write_manifest)
            if self._staging is not None:
                self._trying(self._staging.remove)
            self._journal.clear()

    def _find(self, *, complete: bool) -> set[str]:
        """Return the paths of the files that need not be sent."""
        sizes, there = self._trying(self._place.files), set()
        present = [entry for entry in self._manifest.files if sizes.get(entry.path) == entry.bytes]

        def look(entry: FileEntry) -> None:
            self._control.check()
            # A version that has its manifest was read back before that was written.
            if complete or self._is_known(entry) or self._reads_back(entry):
                (self._tally.skipped if complete else self._tally.resumed)(entry.bytes)
                with self._lock:
                    there.add(entry.path)

        in_parallel(look, present, at_once=self._at_once)
        return there

    def _is_known(self, entry: FileEntry) -> bool:
        """Tell whether an earlier attempt has read a file back, and nobody has touched it since."""
        known = self._known.get(self._key(entry))
        if known is None or known.target_stamp is None or known.source_stamp != entry.digest:
            return False
        return known.target_stamp == self._trying(lambda: self._place.stamp(entry.path))

    def _work_off(self, pieces: Iterator[Piece]) -> None:
        """Receive pieces in order, several at a time; the first error ends all."""
        failed = threading.Event()

        def work() -> None:
            try:
                while not failed.is_set():
                    with self._lock:
                        piece = next(pieces, None)
                    if piece is None:
                        return
                    self._control.check()
                    self._receive(piece)
            except BaseException:
                failed.set()
                for file in list(self._large.values()):
                    file.give_up()
                raise

        with ThreadPoolExecutor(self._at_once, thread_name_prefix=f"to-{self._name}") as pool:
            futures = [pool.submit(work) for _ in range(self._at_once)]
        for file in self._large.values():
            if isinstance(file.upload, Stream):
                file.upload.discard()
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            # Those who waited for another part say less than the one that broke it.
            raise next((error for error in errors if not isinstance(error, BrokenError)), errors[0])

    # small files ------------------------------------------------------------------------------

    def _receive(self, piece: Piece) -> None:
        if not piece.is_whole:
            self._receive_part(piece)
            return
        data = self._senders.fetch(piece)
        self._control.take(len(data))

        def write() -> None:
            if not self._place.put(piece.entry.path, data) and not self._reads_back(piece.entry):
                raise DamagedError(f"{self._place.url}/{piece.entry.path} reads back as something else than was sent")

        self._sending(write)
        self._tally.sent(piece.length)

    def _reads_back(self, entry: FileEntry) -> bool:
        return self._trying(lambda: self._place.digest(entry.path)) == (entry.digest, entry.bytes)

    # large files ------------------------------------------------------------------------------

    def _receive_part(self, piece: Piece) -> None:
        file = self._file(piece.entry)
        written = piece.number in file.tokens
        data = self._own(piece)
        resumed = data is not None or (written and self._staging is None)
        if not resumed:
            data = self._senders.fetch(piece)
            self._control.take(len(data))
            self._pass_on(piece, data)
        if data is not None and not written:
            self._put(file, piece, data)
        (self._tally.part_resumed if resumed else self._tally.part_sent)(piece.length)
        if file.done():
            self._finish(file)
            self._tally.whole()

    def _own(self, piece: Piece) -> bytes | memoryview | None:
        """Return a part that an earlier attempt has received in order to pass it on."""
        if self._staging is None or self._staged.get(piece.staged_name) != piece.length:
            return None
        try:
            return self._staging.read(piece.staged_name, piece.length)
        except TransferError as error:
            log.warning("%s; it is sent again", error)
            return None

    def _pass_on(self, piece: Piece, data: bytes | memoryview) -> None:
        staging = self._staging
        if staging is not None:
            self._sending(lambda: staging.write(piece.staged_name, data))

    def _put(self, file: LargeFile, piece: Piece, data: bytes | memoryview) -> None:
        def write(upload: Upload) -> str:
            if isinstance(upload, Stream):
                return upload.put(piece.number, data)
            with self._explained(file.entry):
                return self._sending(lambda: upload.put(piece.number, data))

        file.put(piece, data, write, self._control)
        if not isinstance(file.upload, Stream):
            self._journal.save({self._key(file.entry): file.progress()})

    def _file(self, entry: FileEntry) -> LargeFile:
        with self._opening:
            if entry.path not in self._large:
                self._large[entry.path] = self._opened(entry)
            return self._large[entry.path]

    def _opened(self, entry: FileEntry) -> LargeFile:
        known, parts = self._known.get(self._key(entry)), parts_of(entry)
        if (
            known is not None
            and known.handle
            and (known.source_stamp, known.part_bytes)
            == (
                entry.digest,
                parts.part_bytes,
            )
        ):
            handle = known.handle
            upload = self._trying(lambda: self._place.resume_upload(entry.path, handle))
            if upload is not None:
                return LargeFile(entry, upload, known.parts)
        return self._begun(entry)

    def _begun(self, entry: FileEntry) -> LargeFile:
        if self._place.backend.part_bytes(entry.bytes) is None:
            return LargeFile(entry, Stream(self._place, entry.path, entry.bytes), {})
        part_bytes = parts_of(entry).part_bytes
        upload = self._trying(lambda: self._place.begin_upload(entry.path, size=entry.bytes, part_bytes=part_bytes))
        return LargeFile(entry, upload, {})

    def _finish(self, file: LargeFile) -> None:
        """Publish a file, when it is what its manifest says; receive it again when not."""
        for _ in range(DAMAGED_TRIES):
            if self._published(file):
                self._journal.save({self._key(file.entry): self._whole(file)})
                with self._opening:
                    del self._large[file.entry.path]
                return
            log.warning(
                "%s at %s is not what its manifest says; it is sent again by %s",
                file.entry.path,
                self._name,
                self._senders.current.name,
            )
            file = self._again(file)
        raise CorruptDataError(
            f"{file.entry.path} is not what its manifest says, {DAMAGED_TRIES} times; it came from "
            f"{self._senders.current.name}: check the version there with 'dataflow datasets verify'"
        )

    def _published(self, file: LargeFile) -> bool:
        entry, upload = file.entry, file.upload
        if file.digest is not None and str(file.digest) != entry.digest:
            return False
        tokens = [file.tokens[number][0] for number in range(file.parts.count)]
        with self._explained(entry):
            if isinstance(upload, Stream):
                upload.publish(tokens)
            else:
                self._trying(lambda: upload.publish(tokens))
        if (file.digest is not None and upload.verifies) or self._reads_back(entry):
            return True
        self._trying(lambda: self._place.remove(entry.path))
        return False

    def _again(self, old: LargeFile) -> LargeFile:
        """Receive a file once more, only from where it is whole, and count the parts that come otherwise."""
        with self._explained(old.entry):
            old.upload.discard()
        file = self._begun(old.entry)
        with self._opening:
            self._large[old.entry.path] = file
        for number in range(file.parts.count):
            piece = Piece(old.entry, file.parts, number)
            data = self._senders.fetch(piece, published=True)
            self._control.take(len(data))
            self._pass_on(piece, data)
            self._put(file, piece, data)
            if file.tokens[number][1] != old.tokens[number][1]:
                self._tally.retried()
        return file

    def _whole(self, file: LargeFile) -> FileProgress:
        stamp = self._trying(lambda: self._place.stamp(file.entry.path))
        return FileProgress(source_stamp=file.entry.digest, bytes=file.entry.bytes, target_stamp=stamp)

    def _trying(self, work: Callable[[], Result]) -> Result:
        """Ask the store for something, until it answers."""
        return retrying(work, self._control)

    def _sending(self, work: Callable[[], Result]) -> Result:
        """Send a piece to the store, until it has it."""
        return retrying(work, self._control, self._tally.retried)

    def _key(self, entry: FileEntry) -> str:
        return self._place.path(entry.path)

    def _explained(self, entry: FileEntry) -> AbstractContextManager[None]:
        return errors_explained(entry.path, self._place.backend, self._place.path(entry.path))

    def _write_manifest(self) -> None:
        try:
            with self._place.create(MANIFEST_NAME, exclusive=True) as writer:
                writer.write(self._manifest.to_bytes())
        except FileExistsError:
            # Another process has brought the same version meanwhile; that is as good, or refused.
            is_complete(self._manifest, self._place)
