"""Landing files to typed Parquet, whatever holds the result."""

from __future__ import annotations

import logging
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa

from airflow_dataflow.datasets.manifest import Rows, SourceFile
from airflow_dataflow.errors import CorruptDataError, EmptySourceError
from airflow_dataflow.ingest.columns import join_fields, settle
from airflow_dataflow.ingest.landing import Landing, LandingFile, LocalFile, RefusedFileError, Source
from airflow_dataflow.ingest.options import IngestOptions
from airflow_dataflow.ingest.output import Output, write_file
from airflow_dataflow.ingest.readers import Reader, build_readers
from airflow_dataflow.ingest.rejects import Rejects
from airflow_dataflow.ingest.staging import Staged, stage
from airflow_dataflow.progress import Progress, no_progress
from airflow_dataflow.storage.digest import CHUNK_BYTES
from airflow_dataflow.storage.scratch import scratch_folder

log = logging.getLogger(__name__)

DUPLICATE = "duplicate_file"
"""Reason of a file with the content of another one; its rows are there once."""

_STEM_LENGTH = 80
_SHOWN_FILES = 5


Content = tuple[str, str]
"""What a file says: the digest of its bytes, and how they are read. The same bytes under a better suffix are news."""


def content_of(name: str, digest: str, readers: Mapping[str, Reader]) -> Content:
    """Return the content of the file ``name``."""
    file = LocalFile(name, Path(name))
    return digest, f"{type(readers.get(file.suffix)).__name__} {file.codec}"


@dataclass(frozen=True)
class Arrival:
    """A landing file whose content is known."""

    file: LandingFile
    """The file as it was listed."""
    content: Content
    """Its content; the digest is empty for a file that may not be read."""
    staged: Staged | None
    """What the first pass found; ``None`` for content that was known before."""

    @property
    def digest(self) -> str:
        """Digest of the bytes."""
        return self.content[0]


@dataclass(frozen=True)
class Ingested:
    """What a run has written."""

    sources: tuple[SourceFile, ...]
    """Every file that was read or refused, in the order of their rows."""
    schema: pa.Schema
    """Columns of all data files that were written."""
    reasons: Mapping[str, Mapping[str, int]]
    """Quarantined rows by path of the source file and reason."""

    @property
    def rows(self) -> Rows:
        """Row counts over all files."""
        return rows_of(self.sources, self.reasons)


def rows_of(sources: Sequence[SourceFile], reasons: Mapping[str, Mapping[str, int]]) -> Rows:
    """Add up the rows of source files and their reasons."""
    by_reason: Counter[str] = Counter()
    for counts in reasons.values():
        by_reason.update(counts)
    return Rows(
        rows_in=sum(source.rows_in for source in sources),
        rows_out=sum(source.rows_out for source in sources),
        rows_quarantined=sum(source.rows_quarantined for source in sources),
        quarantined_by_reason=dict(sorted(by_reason.items())),
    )


def read_files(
    landing: Landing,
    readers: Mapping[str, Reader],
    scratch: Path,
    *,
    digest_of: Callable[[LandingFile], str] = lambda _: "",
    known: Collection[Content] = (),
    progress: Progress = no_progress,
) -> list[Arrival]:
    """Read every file of new content once.

    :param landing: the files.
    :param readers: readers by suffix.
    :param scratch: folder on a local disk with room for the new files.
    :param digest_of: returns the digest of a file that looks as it did when it was read before, else nothing.
    :param known: content that is not read again.
    :param progress: is told of the bytes that were read.
    :raises TransientError: when a file changes or disappears meanwhile.
    """
    total = sum(file.bytes for file in landing.files)
    seen = set(known)
    arrivals = []
    done = 0
    for number, file in enumerate(landing.files):
        content = content_of(file.name, digest_of(file), readers)
        if content in seen:
            arrival = Arrival(file, content, None)
        else:

            def report(count: int, start: int = done) -> None:
                progress("reading", start + count, total, "bytes")

            folder = scratch / str(number)
            folder.mkdir()
            arrival = _read(landing, file, readers, scratch=folder, seen=seen, on_bytes=report)
        if arrival.digest:
            seen.add(arrival.content)
        arrivals.append(arrival)
        done += file.bytes
        progress("reading", done, total, "bytes")
    return arrivals


def _read(
    landing: Landing,
    file: LandingFile,
    readers: Mapping[str, Reader],
    *,
    scratch: Path,
    seen: Collection[Content],
    on_bytes: Callable[[int], None],
) -> Arrival:
    local = LocalFile(file.name, Path(file.location))
    try:
        local = landing.fetch(file, scratch)
        content = content_of(file.name, local.digest(), readers)
    except RefusedFileError as error:
        refused = Staged(local, Rejects(file.name, scratch / "rejects"), reason=str(error))
        return Arrival(file, content_of(file.name, "", readers), refused)
    staged = None
    if content not in seen:
        staged = stage(local, readers[local.suffix], scratch, on_bytes)
    landing.check_unchanged(file)
    if local.path.is_relative_to(scratch) and (staged is None or staged.reason is None):
        local.path.unlink()
    return Arrival(file, content, staged)


def write_files(
    arrivals: Sequence[Arrival],
    output: Output,
    options: IngestOptions,
    *,
    columns: Mapping[str, pa.DataType] | None = None,
    first_number: int = 1,
    progress: Progress = no_progress,
) -> Ingested:
    """Write what :func:`read_files` found.

    :param arrivals: the files; one without staged rows is recorded as a duplicate.
    :param output: where the files go.
    :param options: bounds of the files.
    :param columns: types that are fixed already, by an earlier version; values that do not fit are quarantined.
    :param first_number: number of the first file; numbers order the output files of all nights.
    :param progress: is told of the rows that were written.
    """
    schema = _common_schema([arrival.staged for arrival in arrivals if arrival.staged], columns or {})
    total = sum(arrival.staged.rows for arrival in arrivals if arrival.staged)
    sources, reasons, done = [], {}, 0
    for number, arrival in enumerate(arrivals, first_number):
        source = _write(arrival, schema, output, options, stem_of(number, arrival))
        sources.append(source)
        if source.rows_quarantined and arrival.staged:
            reasons[source.path] = dict(sorted(arrival.staged.rejects.counts.items()))
        if arrival.staged:
            done += arrival.staged.rows
            progress("writing", done, total, "rows")
    return Ingested(sources=tuple(sources), schema=schema, reasons=reasons)


def _common_schema(staged: Sequence[Staged], fixed: Mapping[str, pa.DataType]) -> pa.Schema:
    observed = reduce(join_fields, (one.types for one in staged if one.reason is None), dict[str, pa.DataType]())
    added = {name: settle(kind) for name, kind in observed.items() if name not in fixed}
    return pa.schema([*fixed.items(), *added.items()])


def stem_of(number: int, arrival: Arrival) -> str:
    """Return the start of the names of a file's outputs: its place in the order of rows, its name, its digest."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", arrival.file.name)[-_STEM_LENGTH:]
    return f"{number:06d}-{name}-{arrival.digest.partition(':')[2][:8]}"


def _write(arrival: Arrival, schema: pa.Schema, output: Output, options: IngestOptions, stem: str) -> SourceFile:
    record = SourceFile(path=arrival.file.name, digest=arrival.digest, bytes=arrival.file.bytes)
    staged = arrival.staged
    if staged is None:
        return record.model_copy(update={"reason": DUPLICATE})
    if staged.reason is not None:
        log.warning("%s: refused: %s", arrival.file.name, staged.reason)
        copies = _copy_refused(arrival, staged, output) if arrival.digest else ()
        return record.model_copy(update={"reason": staged.reason, "outputs": copies})
    paths, counts = write_file(staged, schema, output, stem, options)
    rejected = counts.total()
    # The second pass moves rows that do not fit to the rejects; those of the first pass were never among the good.
    rows_in = staged.rows + staged.rejected_while_reading
    log.info("%s: %s rows, %s of them quarantined", arrival.file.name, f"{rows_in:,}", f"{rejected:,}")
    return record.model_copy(
        update={
            "rows_in": rows_in,
            "rows_out": rows_in - rejected,
            "rows_quarantined": rejected,
            "outputs": tuple(paths),
        }
    )


def _copy_refused(arrival: Arrival, staged: Staged, output: Output) -> tuple[str, ...]:
    path = f"quarantine/files/{arrival.digest.partition(':')[2][:8]}/{posixpath.basename(arrival.file.name)}"
    with staged.file.path.open("rb") as source, output.create(path) as target:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)
    return (path,)


def refuse_nothing(sources: Sequence[SourceFile], rows: Rows, where: str) -> None:
    """Raise when not one row is left.

    :raises CorruptDataError: when files were refused.
    :raises EmptySourceError: when the files have no good row.
    """
    if rows.rows_out:
        return
    refused = [f"{source.path}: {source.reason}" for source in sources if source.reason]
    more = f"; and {len(refused) - _SHOWN_FILES} more" if len(refused) > _SHOWN_FILES else ""
    if refused:
        raise CorruptDataError(f"no file at {where} gives a row: {'; '.join(refused[:_SHOWN_FILES])}{more}")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rows.quarantined_by_reason.items())
    names = ", ".join(source.path for source in sources[:_SHOWN_FILES])
    why = f"all {rows.rows_in:,} rows are bad ({reasons})" if rows.rows_in else "they hold no rows"
    raise EmptySourceError(f"no file at {where} gives a row: {why}; read were {names}")


def ingest_files(
    source: Source,
    output: Output,
    *,
    options: IngestOptions | None = None,
    progress: Progress = no_progress,
) -> Ingested:
    """Read raw files and write typed Parquet to ``data/`` and bad rows to ``quarantine/`` of any output.

    :param source: what to read, see :class:`~airflow_dataflow.ingest.landing.Place`.
    :param output: a version's draft or a :class:`~airflow_dataflow.storage.directory.Directory`.
    :param options: see :class:`~airflow_dataflow.ingest.options.IngestOptions`.
    :param progress: is told of bytes read, then of rows written.
    :raises NotFoundError: when there is nothing at ``source``.
    :raises EmptySourceError: when there is no file to read, or no good row.
    :raises CorruptDataError: when files were refused and no row is left.
    :raises TransientError: when a file changes while it is read.
    """
    options = options or IngestOptions()
    readers = build_readers(options.readers)
    landing = Landing(source, set(readers))
    landing.refuse_empty()
    with scratch_folder() as scratch:
        arrivals = read_files(landing, readers, scratch, progress=progress)
        ingested = write_files(arrivals, output, options, progress=progress)
    refuse_nothing(ingested.sources, ingested.rows, landing.source)
    return ingested
