"""The engine of all transfers: files by many workers, small ones at once and large ones in parts, each verified."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from airflow_dataflow.datasets.manifest import MANIFEST_NAME
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import SMALL_FILE_BYTES
from airflow_dataflow.transfer.crew import Crew
from airflow_dataflow.transfer.flow import Flow
from airflow_dataflow.transfer.in_parts import FileInParts
from airflow_dataflow.transfer.inside import copy_inside
from airflow_dataflow.transfer.journal import Journal, NoJournal
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.plan import Job
from airflow_dataflow.transfer.report import Tally
from airflow_dataflow.transfer.retry import retrying
from airflow_dataflow.transfer.small import is_small, send_small
from airflow_dataflow.transfer.stream import STREAM_RANGE_BYTES, send_stream
from airflow_dataflow.transfer.verify import corrupt, is_equal

PARTS_AT_ONCE = 6
"""Parts in flight where nobody wants another number."""
IN_FLIGHT_BYTES = 96 << 20
"""What all parts in flight may take in memory; each takes it twice while it is read back."""

_Act = Callable[[Job, Flow, list[FileInParts]], None]


class Engine:
    """One transfer.

    :param tally: counts what is done.
    :param options: how files are transferred.
    :param journal: where is written down how far they are; nowhere when ``None``. The caller clears it in the end.
    :param control: limits and a stop from outside; those of ``options`` when ``None``.
    :param resumes: whether files that the target has already are what an earlier attempt has left there.
    """

    def __init__(
        self,
        tally: Tally,
        *,
        options: TransferOptions | None = None,
        journal: Journal | None = None,
        control: Control | None = None,
        resumes: bool = False,
    ) -> None:
        self._tally = tally
        self._options = options or TransferOptions()
        self._journal = journal or NoJournal()
        self._control = control or Control(base=self._options.limits)
        self._resumes = resumes
        self._known = self._journal.load()

    def run(self, jobs: Iterable[Job], *, packs: bool = False) -> None:
        """Copy files that the target does not have already; the order is the engine's.

        :param packs: whether files may go into packs, where the options want that.
        :raises SourceChangedError: when a source is replaced or removed meanwhile.
        :raises CorruptDataError: when a source is not what its manifest, or its store, says.
        :raises TransferError: when something went wrong again and again.
        :raises StoppedError: when somebody has stopped the transfer.
        """
        packed, plain = self._divided(list(jobs), packs=packs)
        small = [job for job in plain if is_small(job)]
        large = [job for job in plain if not is_small(job)]
        # Small files mostly wait for their stores, large ones need memory: each kind has another number of workers.
        self._run(small, self._settle, _files_at_once(small), SMALL_FILE_BYTES)
        self._run(large, self._settle, PARTS_AT_ONCE, max(map(_part_bytes, large), default=0))
        if packed:
            self._pack(packed)

    def _divided(self, jobs: list[Job], *, packs: bool) -> tuple[list[Job], list[Job]]:
        """Return the files that go into packs, and those that the target gets as they are."""
        if not (packs and self._options.packs):
            return [], jobs
        from airflow_dataflow.transfer.packing_plan import to_pack

        return to_pack(jobs, self._options)

    def _pack(self, jobs: Sequence[Job]) -> None:
        from airflow_dataflow.transfer.pack import pack_files
        from airflow_dataflow.transfer.packing_plan import Packable

        wanted: list[Job] = []

        def look(job: Job, flow: Flow, _begun: list[FileInParts]) -> None:
            if not self._has(job, flow):
                wanted.append(job)

        self._run(jobs, look, _files_at_once(jobs), SMALL_FILE_BYTES)
        if self._options.dry_run:
            for job in wanted:
                self._tally.sent(job.bytes)
            return
        for source in dict.fromkeys(job.source for job in wanted):
            # The workers have looked at them in any order; the same packs are made of the same order only.
            files = [
                Packable(
                    path=job.target_path,
                    bytes=job.bytes,
                    source_path=job.source_path,
                    digest=None if job.expected is None else job.expected.digest,
                    stamp=job.stamp,
                )
                for job in sorted(wanted, key=lambda job: job.target_path)
                if job.source is source
            ]
            pack_files(
                source,
                files,
                jobs[0].target,
                options=self._options,
                journal=self._journal,
                control=self._control,
                tally=self._tally,
            )

    def _run(self, jobs: Sequence[Job], act: _Act, at_once: int, most_bytes: int) -> None:
        """Let some workers look after files, fewer where each of them needs much memory."""
        if not jobs:
            return
        memory_for = max(1, IN_FLIGHT_BYTES // most_bytes)
        crew = Crew(self._control, min(at_once, memory_for), memory_for)
        flow = Flow(options=self._options, journal=self._journal, known=self._known, tally=self._tally, crew=crew)
        begun: list[FileInParts] = []
        try:
            crew.run(partial(act, job, flow, begun) for job in jobs)
        except BaseException as error:
            for file in begun:
                file.abandon(error)
            raise

    def remove(self, target: Directory, paths: Sequence[str]) -> None:
        """Remove files from the target; a version loses its manifest before it loses anything else."""
        manifests = [path for path in paths if posixpath.basename(path) == MANIFEST_NAME]
        others = [path for path in paths if posixpath.basename(path) != MANIFEST_NAME]
        for batch in (manifests, others):
            crew = Crew(self._control, target.backend.small_files_at_once)
            crew.run(partial(self._remove, target, path, crew) for path in batch)

    def make_way(self, target: Directory, files: Sequence[str], folders: Sequence[str]) -> None:
        """Remove files, and then folders, that lie where others go."""
        self.remove(target, files)
        for folder in () if self._options.dry_run else folders:
            target.child(folder).remove_all()

    def _remove(self, target: Directory, path: str, crew: Crew) -> None:
        if not self._options.dry_run:
            retrying(partial(target.remove, path), crew)
        self._tally.removed()

    def _settle(self, job: Job, flow: Flow, begun: list[FileInParts]) -> None:
        if self._has(job, flow):
            return
        if self._options.dry_run:
            self._tally.sent(max(0, job.bytes))
            return
        if job.expected is not None and job.bytes != job.expected.bytes:
            raise corrupt(job, job.source.digest(job.source_path))
        if job.inside:
            copy_inside(job, flow)
        elif is_small(job):
            send_small(job, flow)
        elif not job.has_ranges or job.target.backend.part_bytes(job.bytes) is None:
            send_stream(job, flow)
        else:
            file = FileInParts(job, flow)
            begun.append(file)
            flow.crew.add(file.begin())

    def _has(self, job: Job, flow: Flow) -> bool:
        """Tell whether the target has the file already, and count it then."""
        size = job.bytes if job.expected is None else job.expected.bytes
        if job.there is None or job.there.bytes != size:
            return False
        if flow.remembers(job):
            self._tally.resumed(size)
            return True
        if not self._is_equal(job, flow):
            return False
        (self._tally.resumed if self._resumes else self._tally.skipped)(size)
        if not self._options.dry_run:
            flow.note(job, job.there.stamp)
        return True

    def _is_equal(self, job: Job, flow: Flow) -> bool:
        if self._options.skip == "digest":
            return retrying(partial(is_equal, job), flow.crew)
        there = None if job.there is None else job.there.modified
        return job.modified is not None and there is not None and job.modified <= there


def _files_at_once(jobs: Sequence[Job]) -> int:
    places = [place.backend for job in jobs[:1] for place in (job.source, job.target)]
    return max((backend.small_files_at_once for backend in places), default=1)


def _part_bytes(job: Job) -> int:
    return job.target.backend.part_bytes(max(0, job.bytes)) or STREAM_RANGE_BYTES
