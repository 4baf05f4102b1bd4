"""A version in the making: files first, verified, the manifest last."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Kind, Manifest, Rows, SourceFile
from airflow_dataflow.errors import BusyError, CorruptDataError, InvalidInputError, NotFoundError, TransferError
from airflow_dataflow.storage.digest import CHUNK_BYTES
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parallel import files_in_parallel
from airflow_dataflow.storage.writing import HashingWriter

log = logging.getLogger(__name__)


class VersionDraft:
    """A folder that becomes a version when :meth:`commit` writes its manifest, and is rubbish until then.

    :param directory: the version's folder, without a manifest.
    :param dataset: name of the dataset.
    :param version: id of the version.
    :param kind: ``"dataset"`` or ``"model"``.
    :param fingerprint: see :func:`~airflow_dataflow.datasets.manifest.fingerprint_of`.
    :param parents: fixed references of what it is made from.
    :param sole: whether nobody else writes in the folder, so that what is unknown there is rubbish.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        dataset: str,
        version: str,
        kind: Kind,
        fingerprint: str,
        parents: Iterable[str] = (),
        sole: bool = True,
    ) -> None:
        self.directory = directory
        self.dataset = dataset
        self.version = version
        self.kind: Kind = kind
        self.fingerprint = fingerprint
        self.parents = tuple(parents)
        self.sole = sole
        self.manifest: Manifest | None = None
        self._entries: dict[str, FileEntry] = {}

    @contextmanager
    def create(self, relative: str) -> Iterator[HashingWriter]:
        """Open a file of the version for writing; set ``rows`` on the writer when it is a table.

        :raises StorageFullError: when the tier is full.
        :raises BusyError: when another attempt has written another content of the file.
        """
        path, written = _checked(relative), False
        try:
            with self.directory.create(path, exclusive=not self.sole) as writer:
                yield writer
                written = True
        except FileExistsError:
            if not written:
                raise
            self._check_equal(path, writer.digest, writer.bytes_written)
        self._entries[relative] = FileEntry(
            path=relative, bytes=writer.bytes_written, digest=writer.digest, rows=writer.rows
        )

    def _check_equal(self, path: str, digest: str, size: int) -> None:
        """Let a file that is there already stand for the one that was to be written, if they are equal.

        Where nobody can have the sole right to write, several attempts may be at work on one version, and nobody knows
        which of them still live. The same work writes the same bytes; nothing ever replaces other bytes, since they may
        be part of a version by now.

        :raises BusyError: when they differ.
        """
        if self.directory.digest(path) == (digest, size):
            return
        raise BusyError(
            f"another attempt has written another {path} for {self.dataset}@{self.version}: a retry finds that version,"
            " or 'dataflow datasets sweep' removes what a killed attempt left there"
        )

    def carry(self, entry: FileEntry, source: Directory, *, path: str | None = None) -> FileEntry:
        """Take over a file of another version, without moving bytes where both lie in one store.

        :param entry: the file, as the other version's manifest describes it.
        :param source: the other version's folder.
        :param path: its path in this version; the same as there when ``None``.
        """
        relative = _checked(path or entry.path)
        if not self.sole and self.directory.exists(relative):
            self._check_equal(relative, entry.digest, entry.bytes)
        elif source.fs == self.directory.fs:
            source.copy(entry.path, self.directory, relative)
        else:
            with (
                source.open(entry.path) as reader,
                self.directory.create(relative, expected_bytes=entry.bytes) as writer,
            ):
                while chunk := reader.read(CHUNK_BYTES):
                    writer.write(chunk)
        carried = entry.model_copy(update={"path": relative})
        self._entries[relative] = carried
        return carried

    def add_local_folder(self, folder: Path, relative: str) -> None:
        """Copy every file below the local ``folder`` to ``relative`` in the version."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = f"{relative}/{file.relative_to(folder).as_posix()}"
            with file.open("rb") as reader, self.create(target) as writer:
                while chunk := reader.read(CHUNK_BYTES):
                    writer.write(chunk)

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """The files written or carried so far, sorted by path."""
        return tuple(self._entries[path] for path in sorted(self._entries))

    def entry(self, relative: str) -> FileEntry:
        """Return what is known of a file written or carried before."""
        return self._entries[relative]

    def commit(
        self,
        rows: Rows,
        *,
        columns: dict[str, str] | None = None,
        recipe: dict[str, Any] | None = None,
        sources: Iterable[SourceFile] = (),
        statistics: dict[str, Any] | None = None,
    ) -> Manifest:
        """Read every file back, then write the manifest: from here on the version exists.

        :param rows: row counts that balance.
        :param columns: column name to Arrow type of the files under ``data/``.
        :param recipe: the recipe or parameters that made the version.
        :param sources: the files that were read.
        :param statistics: what was measured; no wall-clock times, so that a retry writes the same bytes.
        :returns: the manifest.
        :raises TransferError: when a file does not read back as it was written.
        :raises BusyError: when another process has committed another content under this version id.
        """
        written = Manifest(
            dataset=self.dataset,
            version=self.version,
            kind=self.kind,
            fingerprint=self.fingerprint,
            parents=self.parents,
            columns=columns or {},
            recipe=recipe,
            sources=tuple(sources),
            statistics=statistics or {},
            files=self.entries,
            **rows.model_dump(include=set(Rows.model_fields)),
        )
        # What the caller gets is what a reader gets: JSON knows no tuples and no numbers as keys.
        manifest = Manifest.from_bytes(written.to_bytes(), self.directory.url)
        if self.sole:
            self._remove_strays()
        verify_all(self.directory, manifest.files)
        try:
            with self.directory.create(MANIFEST_NAME, exclusive=True) as writer:
                writer.write(manifest.to_bytes())
        except FileExistsError as error:
            if self.directory.read(MANIFEST_NAME) != manifest.to_bytes():
                raise BusyError(
                    f"another process has just committed {manifest.reference}; a retry finds that version"
                ) from error
        self.manifest = manifest
        return manifest

    def _remove_strays(self) -> None:
        for relative in self.directory.files():
            if relative not in self._entries:
                log.info("removing %s, which is no file of %s@%s", relative, self.dataset, self.version)
                self.directory.remove(relative)


def _checked(relative: str) -> str:
    if relative == MANIFEST_NAME:
        raise InvalidInputError(f"{MANIFEST_NAME} is written by commit")
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"path {relative!r} of a version has to be text; name the file otherwise") from error
    if posixpath.normpath(relative) != relative:
        raise InvalidInputError(f"path {relative!r} of a version has to be written {posixpath.normpath(relative)!r}")
    return relative


def verify_all(directory: Directory, entries: Iterable[FileEntry]) -> None:
    """Read files back, several at a time, and compare each with its entry.

    :raises TransferError: when one is missing, or size or digest differ.
    """
    files_in_parallel(
        lambda entry: verify(directory, entry), entries, size=lambda entry: entry.bytes, places=(directory,)
    )


def verify(directory: Directory, entry: FileEntry) -> None:
    """Read a file back and compare it with its entry.

    :raises TransferError: when it is missing, or size or digest differ.
    """
    found = damage(directory, entry)
    if found is not None:
        raise TransferError(found)


def damage(directory: Directory, entry: FileEntry) -> str | None:
    """Read a file back and say how it differs from its entry, ``None`` when it does not."""
    try:
        digest, size = directory.digest(entry.path)
    except NotFoundError:
        return f"{directory.url}/{entry.path} is missing, but {entry.bytes:,} bytes were written there"
    except CorruptDataError as error:
        return f"{directory.url}/{entry.path} cannot be read: {error}"
    if (digest, size) != (entry.digest, entry.bytes):
        return (
            f"{directory.url}/{entry.path} reads back as {size:,} bytes with {digest}, "
            f"but {entry.bytes:,} bytes with {entry.digest} were written"
        )
    return None
