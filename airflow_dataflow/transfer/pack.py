"""Sending files as packs: small ones together, large ones in pieces, compressed where that pays.

A pack is made in memory and written at once. It is whole or absent, and an attempt after a kill knows it again: by the
journal, or by what follows its frames. The layout, which makes the files visible, comes after all packs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue

from airflow_dataflow.errors import CorruptDataError, SourceChangedError
from airflow_dataflow.storage.digest import Digest, digest_of
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.layout import LAYOUT_NAME, Frame, Layout, Pack, is_of_layout
from airflow_dataflow.storage.listing import FoundFile, list_pinned
from airflow_dataflow.storage.packed import Packs
from airflow_dataflow.storage.parts import DamagedError
from airflow_dataflow.transfer.compression import Compression
from airflow_dataflow.transfer.crew import Crew
from airflow_dataflow.transfer.journal import FileProgress, Journal
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.pack_object import BUFFER_BYTES, MadePack, known_pack, make_pack
from airflow_dataflow.transfer.pack_proof import Found, Proofs, packs_of_files
from airflow_dataflow.transfer.packing_plan import FilePiece, Packable, PackPlan, packed_files, plan_packs
from airflow_dataflow.transfer.report import Tally
from airflow_dataflow.transfer.retry import retrying

log = logging.getLogger(__name__)

_PACKS_AT_ONCE = 4
"""Packs in memory at a time."""
_READ_BYTES = 8 << 20
"""Most bytes that one request asks the source for."""
_TRIES = 3
"""How often the packs of a file are made whose bytes are not what the manifest says."""
_GRACE = timedelta(days=1)
"""Packs that no layout names are another attempt's that is under way, or, after this time, nobody's."""


def pack_files(
    source: Directory,
    files: Sequence[Packable],
    target: Directory,
    *,
    options: TransferOptions,
    journal: Journal,
    control: Control,
    tally: Tally,
) -> None:
    """Write files as packs, and the layout that makes them visible; other packed files of the target stay.

    :param source: where the files are.
    :param files: what to pack; the same files in the same order make the same packs.
    :param target: folder that gets the packs.
    :param options: ``compress`` and ``verify`` count here.
    :param journal: which packs the target has.
    :param control: limits and stop.
    :param tally: told about the bytes before compression, and about what is stored.
    :raises CorruptDataError: when a file is not what its digest says.
    :raises SourceChangedError: when a file is not what its stamp says.
    """
    if files:
        _Packing(source, files, target, options=options, journal=journal, control=control, tally=tally).run()


class _Packing:
    """One call of :func:`pack_files`."""

    def __init__(
        self,
        source: Directory,
        files: Sequence[Packable],
        target: Directory,
        *,
        options: TransferOptions,
        journal: Journal,
        control: Control,
        tally: Tally,
    ) -> None:
        self._source = source
        self._files = files
        self._target = target
        self._options = options
        self._journal = journal
        self._control = control
        self._tally = tally
        self._plans = plan_packs(files)
        self._packs_of = packs_of_files(self._plans)
        self._compression = Compression(options.compress)
        self._there = _listed(target)
        self._known = journal.load()
        self._packs: dict[int, Pack] = {}
        self._buffers: SimpleQueue[bytearray] = SimpleQueue()

    def run(self) -> None:
        """Write all packs, then the layout."""
        old = self._old_layout()
        wrong = self._write(self._plans, again=False)
        for _ in range(_TRIES - 1):
            if not wrong:
                break
            # Bytes may have been damaged on the way here, now or in an attempt before.
            log.warning("%d files are not what their manifest says; reading them again", len(wrong))
            wrong = self._write(
                [plan for plan in self._plans if any(piece.file in wrong for piece in plan.pieces)], again=True
            )
        for index, found in wrong.items():
            raise self._corrupt(self._files[index], found)
        self._publish(old)
        for _ in self._files:
            self._tally.whole()

    def _old_layout(self) -> Layout:
        try:
            packs = self._target.overlay.packs()
        except CorruptDataError as error:
            log.warning("%s; writing a new one", error)
            return Layout()
        return Layout() if packs is None else packs.layout

    # packs ------------------------------------------------------------------------------------

    def _write(self, plans: Sequence[PackPlan], *, again: bool) -> dict[int, Found]:
        """Write packs, and return the files that are wrong, with the digest and size that were found."""
        proofs = Proofs(self._files, plans, self._packs_of)
        crew = Crew(self._control, min(_PACKS_AT_ONCE, self._compression.cores + 2), _PACKS_AT_ONCE)
        crew.run(partial(self._do, plan, proofs, crew, again=again) for plan in plans)
        wrong, unproved = proofs.results()
        if unproved:
            packs = Packs(self._new_layout(), self._target.backend, self._target.root, self._target.url)
            for index in unproved:
                file = self._files[index]
                with packs.open(file.path) as reader:
                    found = digest_of(reader)
                if found != (file.digest, file.bytes):
                    wrong[index] = found
        return wrong

    def _do(self, plan: PackPlan, proofs: Proofs, crew: Crew, *, again: bool) -> None:
        pack = None if again else self._found(plan)
        if pack is not None:
            proofs.not_read(plan)
            self._tally.part_resumed(plan.bytes)
        else:
            with self._buffer() as buffer:
                self._read(plan, buffer, proofs, crew)
                made = make_pack(plan, buffer, self._compression)
                self._store(plan, made, crew)
                pack = made.described
                if again:
                    self._tally.retried()
                else:
                    self._tally.part_sent(plan.bytes)
        if not again:
            self._tally.stored(pack.offsets[-1])
        self._packs[plan.number] = pack

    def _found(self, plan: PackPlan) -> Pack | None:
        """Return a pack that an earlier attempt has written, ``None`` when there is none, or a damaged one."""
        there = self._there.get(plan.path)
        if there is None:
            return None
        known = self._known.get(self._target.path(plan.path))
        if known is not None and there.stamp is not None and known.target_stamp == there.stamp:
            pack = _from_journal(plan, known)
            if pack is not None:
                return pack
        return known_pack(plan, self._target.read(plan.path))

    @contextmanager
    def _buffer(self) -> Iterator[bytearray]:
        buffer = bytearray(BUFFER_BYTES) if self._buffers.empty() else self._buffers.get()
        try:
            yield buffer
        finally:
            self._buffers.put(buffer)

    def _read(self, plan: PackPlan, buffer: bytearray, proofs: Proofs, crew: Crew) -> None:
        """Fill the buffer with the pieces of a pack: many small ones at a time from places that make one wait."""
        view = memoryview(buffer)
        at_once = 1 if self._source.is_local else self._source.backend.small_files_at_once
        if at_once > 1 and len(plan.pieces) > 1:
            readers = Crew(self._control, at_once, at_once)
            readers.run(partial(self._read_piece, piece, view, proofs, crew) for piece in plan.pieces)
        else:
            for piece in plan.pieces:
                self._read_piece(piece, view, proofs, crew)

    def _read_piece(self, piece: FilePiece, view: memoryview, proofs: Proofs, crew: Crew) -> None:
        target = view[piece.place : piece.place + piece.bytes]
        for _ in range(_TRIES):
            for start in range(0, piece.bytes, _READ_BYTES):
                wanted = min(_READ_BYTES, piece.bytes - start)
                data = retrying(partial(self._range, piece, piece.start + start, wanted), crew, self._tally.retried)
                target[start : start + wanted] = data
            if proofs.read(piece, target, crew.check):
                return
            self._tally.retried()

    def _range(self, piece: FilePiece, start: int, length: int) -> bytes:
        file = self._files[piece.file]
        data = self._source.read_range(file.source_path, start, length, pin=file.stamp)
        if len(data) == length:
            return data
        if file.digest is not None:
            raise self._corrupt(file, ("fewer bytes", start + len(data)))
        raise SourceChangedError(
            f"{self._source.url}/{file.source_path} ends after {start + len(data):,} of {file.bytes:,} bytes: it was "
            "changed while it was being copied; run the transfer again when nobody writes there"
        )

    def _store(self, plan: PackPlan, made: MadePack, crew: Crew) -> None:
        crew.take(len(made.data))
        with self._compression.link.sending(len(made.data)):
            stamp = retrying(partial(self._put, plan.path, made.data, made.described.digest), crew, self._tally.retried)
        frames = ",".join(f"{frame.bytes}:{frame.check}" for frame in made.described.frames)
        done = FileProgress(
            source_stamp=plan.content,
            bytes=plan.bytes,
            target_stamp=stamp,
            parts={0: (frames, made.described.digest)},
        )
        self._journal.save({self._target.path(plan.path): done})

    def _put(self, path: str, data: bytes | memoryview, digest: str) -> str | None:
        """Write an object, prove that it arrived, and return its stamp."""
        proof = self._target.put(path, data)
        if not proof or self._options.verify == "full":
            found = self._target.digest(path)
            if found != (digest, len(data)):
                raise DamagedError(
                    f"{self._target.url}/{path} reads back as {found[1]:,} bytes with {found[0]}, but {len(data):,} "
                    f"bytes with {digest} were sent"
                )
        return proof if isinstance(proof, str) else self._target.stamp(path)

    # layout -----------------------------------------------------------------------------------

    def _new_layout(self) -> Layout:
        return Layout(packs=tuple(self._packs[plan.number] for plan in self._plans), files=packed_files(self._files))

    def _publish(self, old: Layout) -> None:
        """Write the layout, then remove what it leaves without a use."""
        layout = self._new_layout().joined(old)
        data = layout.to_bytes()
        if layout != old:
            digest = Digest()
            digest.update(data)
            retrying(partial(self._put, LAYOUT_NAME, data, str(digest)), self._control, self._tally.retried)
            self._target.overlay.forget()
        packed = {file.path for file in self._files}
        named, before = {pack.path for pack in layout.packs}, {pack.path for pack in old.packs}
        limit = (datetime.now(UTC) - _GRACE).timestamp()
        for path, file in self._there.items():
            stray = is_of_layout(path) and path != LAYOUT_NAME and path not in named
            if path in packed or (stray and (path in before or (file.modified or limit) < limit)):
                self._target.remove_plain(path)

    def _corrupt(self, file: Packable, found: Found) -> CorruptDataError:
        return CorruptDataError(
            f"{self._source.url}/{file.source_path} has {found[1]:,} bytes with {found[0]}, but its manifest says "
            f"{file.bytes:,} bytes with {file.digest}; restore it from another copy"
        )


def _listed(target: Directory) -> dict[str, FoundFile]:
    """Return what lies in a folder, packs and layout too."""
    root = target.root.rstrip("/") + "/"
    found = list_pinned(target.backend, target.root)
    return {path.removeprefix(root): file for path, file in found.files.items()}


def _from_journal(plan: PackPlan, known: FileProgress) -> Pack | None:
    """Return what a journal says of a pack, ``None`` when that is another one, or no such thing."""
    if (known.source_stamp, known.bytes) != (plan.content, plan.bytes) or 0 not in known.parts:
        return None
    said, digest = known.parts[0]
    try:
        words = [word.partition(":") for word in said.split(",")]
        frames = tuple(Frame(int(size), check) for size, _, check in words)
        return Pack(path=plan.path, bytes=plan.bytes, frames=frames, digest=digest)
    except ValueError:
        return None
