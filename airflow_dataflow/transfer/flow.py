"""What all files of one transfer share while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_dataflow.transfer.crew import Crew
from airflow_dataflow.transfer.journal import FileProgress, Journal, NoJournal
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.plan import Job
from airflow_dataflow.transfer.report import Tally


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What all files of one transfer share while it runs."""

    options: TransferOptions
    """How files are transferred."""
    journal: Journal
    """Where is written down how far they are."""
    known: Mapping[str, FileProgress]
    """What the journal said when the transfer began."""
    tally: Tally
    """Counts what is done."""
    crew: Crew
    """The workers."""

    @property
    def takes_notes(self) -> bool:
        """Whether a later attempt finds what this one writes down."""
        return not isinstance(self.journal, NoJournal)

    def note(self, job: Job, target_stamp: str | None) -> None:
        """Write down that a file is whole at the target."""
        if self.takes_notes:
            progress = FileProgress(source_stamp=job.stamp, bytes=job.bytes, target_stamp=target_stamp)
            self.journal.save({job.key: progress})

    def remembers(self, job: Job) -> bool:
        """Tell whether an earlier attempt has copied the file, and neither side has changed since."""
        note, there = self.known.get(job.key), job.there
        if note is None or there is None or None in (job.stamp, there.stamp):
            return False
        before = (note.source_stamp, note.target_stamp, note.bytes)
        return before == (job.stamp, there.stamp, job.bytes)
