"""What lies in a folder now, and which of it a URL means; made for asking again and again."""

from __future__ import annotations

import os
import posixpath
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_dataflow.storage.backends import errors_explained, stamp_of
from airflow_dataflow.storage.backends._local_parts import stamp_of as local_stamp

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_dataflow.storage.backends import Backend

UNFINISHED = (".tmp", ".part", ".partial", ".crc")
"""Suffixes of files that somebody is still writing, or that are no data."""
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
"""Compression by suffix; the suffix before it tells the format."""
GLOB_SIGNS = frozenset("*?[")
_MODIFIED = ("LastModified", "mtime", "modified", "last_modified", "updated", "modification_time")
_LAST = "\U0010ffff"
_FEW = 8
"""Up to so many files of one folder are asked for one by one; a listing of a large folder takes many requests."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file of a listing."""

    path: str
    """Path as the file system knows it."""
    bytes: int
    """Size in bytes."""
    stamp: str | None
    """ETag or time of the last change; ``None`` where the file system knows neither."""
    modified: float | None
    """Time of the last change in seconds since 1970; ``None`` where nobody knows."""


class Listing:
    """Files in order of their paths.

    :param files: the files.
    :param missing: whether the folder itself was not there.
    """

    def __init__(self, files: Iterable[FoundFile] = (), *, missing: bool = False) -> None:
        self.files = {file.path: file for file in sorted(files, key=lambda file: file.path)}
        self.missing = missing

    @cached_property
    def _paths(self) -> list[str]:
        return list(self.files)

    def starting_with(self, prefix: str) -> list[FoundFile]:
        """Return the files whose path starts with ``prefix``, found by bisection."""
        start, end = bisect_left(self._paths, prefix), bisect_left(self._paths, prefix + _LAST)
        return [self.files[path] for path in self._paths[start:end]]


class Selection:
    """The files that a path means: all below a folder, one file, or those that match a pattern.

    Hidden and unfinished files (``.name``, ``_name``, ``name.part``, ``name.tmp``) do not count, unless the path names
    one of them exactly.

    :param root: path as the file system knows it, with ``*``, ``?``, ``[`` and ``**`` as fsspec's ``glob`` reads them.
    :param suffixes: suffixes of files that count, e.g. ``{".csv"}``, compressed ones too; all when ``None``.
    """

    def __init__(self, root: str, suffixes: frozenset[str] | None = None) -> None:
        self.root = root if root == "/" else root.rstrip("/")
        self.suffixes = suffixes
        signs = [index for index, letter in enumerate(self.root) if letter in GLOB_SIGNS]
        self.is_pattern = bool(signs)
        self._literal = self.root[: signs[0]] if signs else self.root
        self.names_a_file = not signs and not root.endswith("/") and "." in posixpath.basename(self.root)

    @property
    def folder(self) -> str:
        """Folder whose listing tells all: that of the pattern's first sign, that of the file, or the path itself."""
        if self.is_pattern or self.names_a_file:
            return posixpath.dirname(self._literal)
        return self.root

    @cached_property
    def _matches(self) -> Callable[[str], Any]:
        from fsspec.utils import glob_translate

        return re.compile(glob_translate(self.root)).match

    def __call__(self, listing: Listing) -> list[FoundFile]:
        """Return the files of ``listing`` that count."""
        exact = listing.files.get(self.root)
        if exact is not None:
            return [exact]
        below = self.root.rstrip("/") + "/"
        if found := listing.starting_with(below):
            base = below
        else:
            found, base = self.matching(listing), self.folder.rstrip("/") + "/"
        return [file for file in found if self._counts(file.path.removeprefix(base))]

    def matching(self, listing: Listing) -> list[FoundFile]:
        """Return the files of ``listing`` that match the pattern, also hidden ones and such of other formats."""
        if not self.is_pattern:
            return []
        return [file for file in listing.starting_with(self._literal) if self._matches(file.path)]

    def _counts(self, name: str) -> bool:
        if any(part.startswith((".", "_")) for part in name.split("/")) or name.endswith(UNFINISHED):
            return False
        return self.suffixes is None or suffix_of(name) in self.suffixes


def suffix_of(name: str) -> str:
    """Return the suffix that tells a file's format: ``.csv`` for ``a.csv`` and for ``a.csv.gz``."""
    stem, suffix = posixpath.splitext(name.lower())
    return posixpath.splitext(stem)[1] if suffix in COMPRESSIONS else suffix


def url_of(place: str, path: str) -> str:
    """Return the URL of a path, without a connection or secret in it.

    :param place: any URL or local path on the same file system.
    :param path: path as the file system knows it.
    """
    scheme, separator, rest = place.partition("://")
    if not separator or scheme in ("file", "local"):
        return Path(path).as_uri()
    host = rest.partition("/")[0].rpartition("@")[2]
    # Object stores count the bucket as a part of the path, file systems do not count the host.
    return f"{scheme}://{'' if f'{path}/'.startswith(f'{host}/') else host}{path}"


def list_pinned(backend: Backend, folder: str) -> Listing:
    """List a folder with all below it, with the stamps by which :meth:`Backend.read_range` pins files.

    Links to local folders are followed, as :meth:`Directory.files` follows them.

    :param backend: the file system.
    :param folder: path as it knows it.
    """
    backend.fs.invalidate_cache()
    try:
        # A bucket that is missing is no empty folder.
        with errors_explained("the list of files", backend, folder):
            if _is_local(backend.fs):
                return Listing(_walk(folder, pinned_local, follow=True))
            found = _find(backend.fs, folder)
    except (FileNotFoundError, NotADirectoryError):
        return Listing(missing=True)
    return Listing(pinned(backend, path, info) for path, info in found.items() if info["type"] == "file")


def pinned(backend: Backend, path: str, info: Mapping[str, Any]) -> FoundFile:
    """Return what fsspec tells of a file, with the stamp by which it can be pinned; -1 bytes if it tells no size."""
    if _is_local(backend.fs):
        return pinned_local(path, os.stat(path))  # noqa: PTH116 - plain strings
    found = replace(describe(path, info), stamp=backend.stamp_in(info))
    return found if info["size"] is not None else replace(found, bytes=-1)


def pinned_local(path: str, status: os.stat_result) -> FoundFile:
    """Return what the kernel tells of a file, with the stamp by which it can be pinned."""
    return FoundFile(path, status.st_size, local_stamp(status), status.st_mtime)


def list_files(fs: AbstractFileSystem, folder: str) -> Listing:
    """List a folder with all below it; a folder that is not there has no files.

    :param fs: the file system.
    :param folder: path as ``fs`` knows it; a file is its own listing.
    """
    fs.invalidate_cache()
    try:
        if _is_local(fs):
            return Listing(_walk(folder, _describe_local))
        found = _find(fs, folder)
    except FileNotFoundError:
        return Listing(missing=True)
    return Listing(describe(path, info) for path, info in found.items() if info["type"] == "file")


def look_at(fs: AbstractFileSystem, paths: Collection[str]) -> Listing:
    """Describe what lies at single paths, with all below those that turn out to be folders.

    A few paths are asked for one by one, many of one folder by listing it once.
    """
    fs.invalidate_cache()
    found: list[FoundFile] = []
    for info in _infos(fs, paths):
        if info["type"] == "file":
            found.append(describe(info["name"], info))
        else:
            found.extend(list_files(fs, info["name"]).files.values())
    return Listing(found)


def _infos(fs: AbstractFileSystem, paths: Collection[str]) -> Iterator[Mapping[str, Any]]:
    by_folder: dict[str, set[str]] = {}
    for path in paths:
        by_folder.setdefault(posixpath.dirname(path), set()).add(path)
    for folder, wanted in by_folder.items():
        if len(wanted) > _FEW:
            with suppress(FileNotFoundError):
                yield from (info for info in fs.ls(folder, detail=True) if info["name"] in wanted)
            continue
        for path in wanted:
            with suppress(FileNotFoundError):
                yield fs.info(path)


def describe(path: str, info: Mapping[str, Any]) -> FoundFile:
    """Return what fsspec tells of a file."""
    return FoundFile(path, int(info["size"] or 0), stamp_of(info), modified_at(info))


def modified_at(info: Mapping[str, Any]) -> float | None:
    """Return when a file was last changed, in seconds since 1970, ``None`` where a listing does not tell."""
    value = next((info[key] for key in _MODIFIED if info.get(key) is not None), None)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else None


def _find(fs: AbstractFileSystem, folder: str) -> dict[str, Any]:
    from fsspec import AbstractFileSystem

    if type(fs).find is AbstractFileSystem.find:
        # The general walk leaves out what it cannot read: half a listing, which looks like files that are gone.
        return dict(fs.find(folder, detail=True, on_error="raise"))
    return dict(fs.find(folder, detail=True))


def _is_local(fs: AbstractFileSystem) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _walk(
    folder: str,
    describe: Callable[[str, os.stat_result], FoundFile],
    *,
    follow: bool = False,
    above: frozenset[str] = frozenset(),
) -> Iterator[FoundFile]:
    """Yield the files of a local folder; a file that vanishes meanwhile hides no other one.

    :param follow: whether to walk into links to folders, too, but not in a circle.
    :param above: true paths of the folders that links have led into.
    """
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except NotADirectoryError:
        yield describe(folder, os.stat(folder))  # noqa: PTH116 - plain strings, a hundred thousand of them
        return
    for entry in found:
        try:
            if not entry.is_dir():
                yield describe(entry.path, entry.stat())
            elif not entry.is_symlink():
                yield from _walk(entry.path, describe, follow=follow, above=above)
            elif follow and (real := os.path.realpath(entry.path)) not in above and not _lies_in(folder, real):
                yield from _walk(entry.path, describe, follow=True, above=above | {real})
        except FileNotFoundError:
            continue


def _lies_in(path: str, folder: str) -> bool:
    real = os.path.realpath(path)
    return os.path.commonpath([real, folder]) == folder


def _describe_local(path: str, status: os.stat_result) -> FoundFile:
    return FoundFile(path, status.st_size, f"mtime:{status.st_mtime}", status.st_mtime)
