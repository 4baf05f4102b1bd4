"""The landing folder: which files lie there, and their bytes."""

from __future__ import annotations

import logging
import lzma
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_dataflow.errors import (
    CorruptDataError,
    EmptySourceError,
    InvalidInputError,
    NotFoundError,
    TransientError,
)
from airflow_dataflow.ingest.text import Readable
from airflow_dataflow.storage.backends import open_url, stamp_of
from airflow_dataflow.storage.digest import digest_of
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.listing import COMPRESSIONS, GLOB_SIGNS, UNFINISHED, suffix_of

log = logging.getLogger(__name__)


class RefusedFileError(CorruptDataError):
    """A file as a whole cannot be read; the message becomes its reason."""


@dataclass(frozen=True)
class LandingFile:
    """One file of the landing folder."""

    name: str
    """Path below the source."""
    location: str
    """Path as the file system knows it."""
    bytes: int
    """Size in bytes."""
    stamp: str | None
    """ETag or time of the last change; ``None`` where the file system knows neither."""


class Landing:
    """The files that lie at a source.

    :param source: URL or local path of a folder (read with all below it), of one file, or a glob.
    :param suffixes: suffixes of files that can be read, without the suffix of a compression.
    :param storage_options: what fsspec's file system of that scheme takes; never logged.
    :raises NotFoundError: when there is nothing at ``source``.
    """

    def __init__(self, source: str, suffixes: set[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.source = source
        self.suffixes = suffixes
        self.fs, root = open_url(source, storage_options)
        self.fs.invalidate_cache()
        self.ignored: list[str] = []
        self.files = self._list(root)

    @property
    def _is_local(self) -> bool:
        return Directory(self.fs, "/").is_local

    def _list(self, root: str) -> list[LandingFile]:
        if GLOB_SIGNS.intersection(root) and not self.fs.exists(root):
            base = posixpath.dirname(root[: min(root.index(sign) for sign in GLOB_SIGNS.intersection(root))])
            found = self.fs.glob(root, detail=True)
        elif self.fs.isdir(root):
            base = root
            found = self.fs.find(root, detail=True)
        elif self.fs.exists(root):
            if self.suffix_of(root) is None:
                raise InvalidInputError(f"{self.source} is no file of a known format: {self._known()}")
            return [self._describe(posixpath.basename(root), self.fs.info(root))]
        elif self._is_local:
            raise NotFoundError(f"nothing at {self.source}: check the path, and that this machine may see it")
        else:
            return []  # an object store has no empty folders: nothing lies there now
        prefix = base.rstrip("/") + "/"
        files = {path.removeprefix(prefix): info for path, info in found.items() if info["type"] == "file"}
        return self._choose(files)

    def _choose(self, found: dict[str, Any]) -> list[LandingFile]:
        chosen = [name for name in sorted(found) if self._wanted(name)]
        self.ignored = sorted(set(found) - set(chosen))
        if self.ignored:
            kinds = Counter(posixpath.splitext(name)[1] or "no suffix" for name in self.ignored)
            log.info(
                "%s: ignoring %s files that are hidden, unfinished or of no known format (%s)",
                self.source,
                len(self.ignored),
                ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
            )
        return [self._describe(name, found[name]) for name in chosen]

    def _wanted(self, name: str) -> bool:
        if any(part.startswith((".", "_")) for part in name.split("/")):
            return False
        return not name.endswith(UNFINISHED) and self.suffix_of(name) is not None

    def suffix_of(self, name: str) -> str | None:
        """Return the suffix that tells a file's format, ``None`` when no reader knows it."""
        suffix = suffix_of(name)
        return suffix if suffix in self.suffixes else None

    def _known(self) -> str:
        return f"{' '.join(sorted(self.suffixes))}, also with {' '.join(COMPRESSIONS)}"

    def refuse_empty(self) -> None:
        """Raise when there is no file to read.

        :raises EmptySourceError: with what was looked for.
        """
        if self.files:
            return
        count = len(self.ignored)
        what = f"{count} files were ignored, such as {self.ignored[0]!r}" if count else "no file lies there"
        raise EmptySourceError(f"nothing to read at {self.source}: {what}; readable are {self._known()}")

    # bytes ------------------------------------------------------------------------------------

    @staticmethod
    def _describe(name: str, info: Mapping[str, Any]) -> LandingFile:
        return LandingFile(name=name, location=info["name"], bytes=int(info["size"]), stamp=stamp_of(info))

    def fetch(self, file: LandingFile, scratch: Path) -> LocalFile:
        """Make the bytes of a file available on this machine.

        A file on this machine is read where it lies; any other is copied to ``scratch``, read once over the network.

        :raises TransientError: when it has gone since it was listed.
        :raises RefusedFileError: when it may not be read.
        """
        try:
            if self._is_local:
                path = Path(file.location)
                path.open("rb").close()
            else:
                path = scratch / posixpath.basename(file.name)
                self.fs.get_file(file.location, str(path))
        except FileNotFoundError as error:
            raise TransientError(f"{file.location} has gone since {self.source} was listed") from error
        except PermissionError as error:
            raise RefusedFileError("it may not be read (permission denied): let this user read it") from error
        return LocalFile(file.name, path)

    def check_unchanged(self, file: LandingFile) -> None:
        """Make sure that a file is the one that was listed, so that what was read is one whole state of it.

        :raises TransientError: when it has changed or gone.
        """
        self.fs.invalidate_cache()
        try:
            now = self._describe(file.name, self.fs.info(file.location))
        except FileNotFoundError as error:
            raise TransientError(f"{file.location} disappeared while it was being read") from error
        if now != file:
            raise TransientError(
                f"{file.location} changed while it was being read ({file.bytes:,} bytes, then {now.bytes:,}): "
                "is it still being written? A name that ends in '.part' keeps it from being read"
            )


class LocalFile:
    """The bytes of a landing file on this machine.

    :param name: path below the source; its suffixes tell compression and format.
    :param path: where the bytes lie.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.bytes_read = 0
        """How far reading has come, in bytes of the file as it lies there."""

    @property
    def codec(self) -> str | None:
        """Compression, by the suffix; ``None`` for a plain file."""
        return COMPRESSIONS.get(posixpath.splitext(self.name.lower())[1])

    @property
    def suffix(self) -> str:
        """Suffix of the format, e.g. ``.csv`` for ``a.csv.gz``."""
        name = self.name.lower()
        return posixpath.splitext(posixpath.splitext(name)[0] if self.codec else name)[1]

    def digest(self) -> str:
        """Read the file and return its digest."""
        with self.path.open("rb") as file:
            return digest_of(file)[0]

    @contextmanager
    def open(self) -> Iterator[Readable]:
        """Open the decompressed bytes."""
        with pa.OSFile(str(self.path)) as raw:
            if self.codec == "xz":
                with lzma.open(raw) as stream:
                    yield _Decompressed(self, raw, stream)
            elif self.codec is not None:
                with pa.CompressedInputStream(raw, self.codec) as stream:
                    yield _Decompressed(self, raw, stream)
            else:
                yield _Decompressed(self, raw, raw)


class _Decompressed:
    def __init__(self, file: LocalFile, raw: Any, stream: Readable) -> None:
        self._file = file
        self._raw = raw
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return the next decompressed bytes.

        :raises RefusedFileError: when the compressed data is truncated or damaged.
        """
        try:
            data = self._stream.read(size)
        except (EOFError, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise RefusedFileError(
                f"truncated or damaged {self._file.codec} data ({error}): have the file delivered again"
            ) from error
        self._file.bytes_read = self._raw.tell()
        return data
