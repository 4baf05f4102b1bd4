"""The landing folder: which files lie there, and their bytes."""

from __future__ import annotations

import logging
import lzma
import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from airflow_dataflow.errors import (
    CorruptDataError,
    EmptySourceError,
    InvalidInputError,
    NotFoundError,
    TransientError,
)
from airflow_dataflow.ingest.text import Readable
from airflow_dataflow.storage.backends import open_url
from airflow_dataflow.storage.digest import digest_of
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.listing import (
    COMPRESSIONS,
    UNFINISHED,
    FoundFile,
    Selection,
    list_files,
    look_at,
    suffix_of,
    url_of,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

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
    url: str
    """URL, without a secret or connection in it."""
    place: int = 0
    """Number of the place in whose listing it was found."""


@dataclass(frozen=True)
class Place:
    """Where raw files lie."""

    url: str
    """URL or local path of a folder (read with all below it), of one file, or a glob."""
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    """What fsspec's file system of that scheme takes; never logged."""


Source = str | Place | Sequence[str | Place]
"""What can be ingested: one place or several."""


class Landing:
    """The files that lie at one or more places.

    A file is named by its path below its place; where there are several, by its path below the folder that all have in
    common, or by its whole URL when they have none.

    :param source: the place, or several; a text is a URL or local path.
    :param suffixes: suffixes of files that can be read, without the suffix of a compression.
    :raises NotFoundError: when there is nothing at a place.
    """

    def __init__(self, source: Source, suffixes: set[str]) -> None:
        self.places = places_of(source)
        self.source = ", ".join(place.url for place in self.places)
        self.suffixes = suffixes
        self.ignored: list[str] = []
        self._opened = [open_url(place.url, place.storage_options) for place in self.places]
        listed = [self._list(number, *opened) for number, opened in enumerate(self._opened)]
        self.files = listed[0] if len(listed) == 1 else self._renamed(listed)

    def fs_of(self, file: LandingFile) -> AbstractFileSystem:
        """Return the file system of a file."""
        return self._opened[file.place][0]

    def _list(self, number: int, fs: AbstractFileSystem, root: str) -> list[LandingFile]:
        selection = Selection(root)
        literal = not selection.is_pattern or (_is_local(fs) and fs.exists(root))
        listing = list_files(fs, root if literal else selection.folder)
        if literal and root in listing.files:
            if self.suffix_of(root) is None:
                raise InvalidInputError(f"{self.places[number].url} is no file of a known format: {self._known()}")
            return [self._describe(number, posixpath.basename(root), listing.files[root])]
        if literal and listing.missing and _is_local(fs):
            raise NotFoundError(
                f"nothing at {self.places[number].url}: check the path, and that this machine may see it"
            )
        # An object store has no empty folders: nothing lies there now.
        prefix = (root if literal else selection.folder).rstrip("/") + "/"
        files = listing.files.values() if literal else selection.matching(listing)
        return self._choose(number, {file.path.removeprefix(prefix): file for file in files})

    def _renamed(self, listed: Sequence[Sequence[LandingFile]]) -> list[LandingFile]:
        """Return the files of all places, each once, under names that tell them apart, in the order of these."""
        bases = []
        for place, (_, root) in zip(self.places, self._opened, strict=True):
            selection = Selection(root)
            bases.append(_parts(url_of(place.url, selection.folder)))
        shared = len(os.path.commonprefix(bases))  # noqa: RUF071 - of lists: whole parts of paths
        files = {file.url: file for some in listed for file in some}
        named = [replace(file, name="/".join(filter(None, _parts(url)[shared:]))) for url, file in files.items()]
        return sorted(named, key=lambda file: file.name)

    def _choose(self, number: int, found: dict[str, FoundFile]) -> list[LandingFile]:
        chosen = [name for name in sorted(found) if self._wanted(name)]
        ignored = sorted(set(found) - set(chosen))
        self.ignored += ignored
        if ignored:
            kinds = Counter(posixpath.splitext(name)[1] or "no suffix" for name in ignored)
            log.info(
                "%s: ignoring %s files that are hidden, unfinished or of no known format (%s)",
                self.places[number].url,
                len(ignored),
                ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
            )
        return [self._describe(number, name, found[name]) for name in chosen]

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

    def _describe(self, number: int, name: str, found: FoundFile) -> LandingFile:
        return LandingFile(
            name=name,
            location=found.path,
            bytes=found.bytes,
            stamp=found.stamp,
            url=url_of(self.places[number].url, found.path),
            place=number,
        )

    def fetch(self, file: LandingFile, scratch: Path) -> LocalFile:
        """Make the bytes of a file available on this machine.

        A file on this machine is read where it lies; any other is copied to ``scratch``, read once over the network.

        :raises TransientError: when it has gone since it was listed.
        :raises RefusedFileError: when it may not be read.
        """
        try:
            if _is_local(self.fs_of(file)):
                path = Path(file.location)
                path.open("rb").close()
            else:
                path = scratch / posixpath.basename(file.name)
                self.fs_of(file).get_file(file.location, str(path))
        except FileNotFoundError as error:
            raise TransientError(f"{file.location} has gone since {self.source} was listed") from error
        except PermissionError as error:
            raise RefusedFileError("it may not be read (permission denied): let this user read it") from error
        return LocalFile(file.name, path)

    def check_unchanged(self, file: LandingFile) -> None:
        """Make sure that a file is the one that was listed, so that what was read is one whole state of it.

        :raises TransientError: when it has changed or gone.
        """
        now = look_at(self.fs_of(file), [file.location]).files.get(file.location)
        if now is None:
            raise TransientError(f"{file.location} disappeared while it was being read")
        if (now.bytes, now.stamp) != (file.bytes, file.stamp):
            raise TransientError(
                f"{file.location} changed while it was being read ({file.bytes:,} bytes, then {now.bytes:,}): "
                "is it still being written? A name that ends in '.part' keeps it from being read"
            )


def places_of(source: Source) -> list[Place]:
    """Return the places that a source names."""
    found = [source] if isinstance(source, str | Place) else source
    return [Place(one) if isinstance(one, str) else one for one in found]


def _parts(url: str) -> list[str]:
    parts = urlsplit(url)
    path = unquote(parts.path) if parts.scheme == "file" else url.partition("://")[2].removeprefix(parts.netloc)
    return [parts.scheme, parts.netloc, *path.strip("/").split("/")]


def _is_local(fs: AbstractFileSystem) -> bool:
    return Directory(fs, "/").is_local


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
