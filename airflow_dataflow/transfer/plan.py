"""What a transfer has to do: which files go where, and what the target has of them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_dataflow.datasets.manifest import MANIFEST_NAME, FileEntry, Manifest
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.backends import Backend, errors_explained
from airflow_dataflow.storage.backends.local import is_lock, is_partial
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.listing import GLOB_SIGNS, FoundFile, pinned
from airflow_dataflow.transfer.options import TransferOptions

_FEW = 8
"""Up to so many files are asked for one by one at the target, which may hold many others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to copy."""

    source: Directory
    """Folder or prefix that it lies in."""
    source_path: str
    """Its path there."""
    bytes: int
    """Its size in bytes; -1 where nobody knows before all of it was read, as on some web servers."""
    stamp: str | None
    """What :meth:`Backend.stamp` said of it when it was listed; ``None`` where a store knows nothing of the kind."""
    modified: float | None = None
    """When it was last changed, in seconds since 1970; ``None`` where nobody knows."""
    target: Directory
    """Folder or prefix that it goes to."""
    target_path: str
    """Its path there."""
    there: FoundFile | None = None
    """What the target has under that path."""
    expected: FileEntry | None = None
    """What the manifest of its version says of it; ``None`` for a file of no version."""
    inside: bool = False
    """Whether the store itself copies it."""

    @property
    def path(self) -> str:
        """Its path at the target."""
        return self.target_path

    @property
    def key(self) -> str:
        """Its whole path on the target's file system, by which journals know it."""
        return f"{self.target.root.rstrip('/')}/{self.target_path}"

    @property
    def has_ranges(self) -> bool:
        """Whether any part of the source can be read alone, and pinned; web servers promise neither."""
        return self.bytes >= 0 and type(self.source.backend).read_range is not Backend.read_range

    @property
    def is_manifest(self) -> bool:
        """Whether it makes a version visible."""
        return posixpath.basename(self.target_path) == MANIFEST_NAME


@dataclass(frozen=True)
class Plan:
    """What a transfer has to do."""

    jobs: list[Job]
    """Files that the target has to have in the end."""
    target: Directory
    """Folder that they go to."""
    removals: list[str] = field(default_factory=list)
    """Files at the target that the source does not have, and that have to go in the end; manifests first."""
    in_the_way: list[str] = field(default_factory=list)
    """Such files that have to go before anything comes, since they lie where a folder goes, or a file for a folder."""
    folders: list[str] = field(default_factory=list)
    """Folders at the target, empty by then, that lie where files go."""
    is_folder: bool = True
    """Whether it fills a folder; otherwise it is for one file, whose folder is somebody else's affair."""

    @property
    def total_bytes(self) -> int:
        """Bytes that have to be at the target in the end."""
        return sum(max(0, job.bytes) for job in self.jobs)


def plan_paths(sources: Mapping[str, Directory], target: Directory, *, into: bool, options: TransferOptions) -> Plan:
    """Find out what files, folders and patterns mean, by one listing of each, and one of the target.

    :param sources: where they are, by what the caller calls them.
    :param target: folder that everything goes to; the path of the file itself when there is one only.
    :param into: whether a single file goes into ``target`` although there is no such folder yet.
    :param options: whether to mirror, and how much that may remove.
    :raises NotFoundError: when a source names no file.
    :raises InvalidInputError: when two sources have a file for one path, or when a mirror would remove too much.
    """
    found = {name: _find(name, place) for name, place in sources.items()}
    (single,) = found.values() if len(found) == 1 else (None,)
    if single is not None and single.is_file:
        (name,) = single.files
        there = _look(target)
        if not (into or (there is not None and there["type"] == "directory")):
            return _single(single, name, target, there, options)
    wanted = _by_path(found)
    known = _known(target, wanted, options)
    jobs = [_job(base, file, path, target, known.get(path)) for path, (base, file) in wanted.items()]
    in_the_way, folders = _obstacles(target, known, wanted)
    if not options.mirror:
        for path in (*folders, *in_the_way):
            raise InvalidInputError(
                f"{target.url}/{path} is a {'folder' if path in folders else 'file'}, where a "
                f"{'file' if path in folders else 'folder'} of that name goes: remove it first, or mirror the source"
            )
        return Plan(jobs, target)
    removals = _removals(list(sources.values()), target, known, wanted, options)
    first = {*in_the_way, *(path for path in removals if not set(folders).isdisjoint(folders_above(path)))}
    later = [path for path in removals if path not in first]
    return Plan(jobs, target, later, [path for path in removals if path in first], folders)


def plan_version(manifest: Manifest, source: Directory, target: Directory, *, share: bool) -> Plan:
    """Find out what the target has of a version.

    :param share: let the file system copy where both lie on one, see :meth:`Backend.share`.
    """
    here, there = source.listing(), target.listing()
    inside = source.fs == target.fs and (share or source.backend.copies_inside)
    jobs = []
    for entry in manifest.files:
        found = here.get(entry.path) or FoundFile(entry.path, entry.bytes, None, None)
        jobs.append(
            Job(
                source=source,
                source_path=entry.path,
                bytes=found.bytes,
                stamp=found.stamp,
                modified=found.modified,
                target=target,
                target_path=entry.path,
                there=there.get(entry.path),
                expected=entry,
                inside=inside,
            )
        )
    return Plan(jobs, target)


# sources --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """What a source means."""

    base: Directory
    files: Mapping[str, FoundFile]
    is_file: bool = False


def _find(name: str, place: Directory) -> _Found:
    info = _look(place)
    if info is not None and info["type"] == "file":
        folder, path = place.parent()
        return _Found(folder, {path: pinned(place.backend, place.root, info)}, is_file=True)
    found = _Found(place, _listed(place)) if info is not None else _matches(place)
    if not found.files:
        raise NotFoundError(f"{name!r} names no file")
    return found


def files_of(name: str, place: Directory) -> list[tuple[Directory, str]]:
    """Return the files that a folder, a file or a pattern means, each by a folder and the path below that.

    :param name: what the caller calls it.
    :param place: where it is.
    :raises NotFoundError: when there is none.
    """
    found = _find(name, place)
    return [(found.base, path) for path in found.files]


def _listed(place: Directory) -> dict[str, FoundFile]:
    return {path: file for path, file in place.listing().items() if not _is_ours(path)}


def _is_ours(path: str) -> bool:
    """Tell whether a file is only there because somebody is writing; it comes and goes, and is nobody's data."""
    name = posixpath.basename(path)
    return is_partial(name) or is_lock(name)


def _look(place: Directory) -> Mapping[str, object] | None:
    """Return what fsspec tells of the path itself, ``None`` when it is not there."""
    try:
        with errors_explained("the path", place.backend, place.root):
            info: Mapping[str, object] = place.fs.info(place.root)
    except FileNotFoundError:
        return None
    return info


def _matches(pattern: Directory) -> _Found:
    parts = pattern.root.split("/")
    fixed = next((index for index, part in enumerate(parts) if set(part) & GLOB_SIGNS), len(parts) - 1)
    base = Directory(pattern.fs, "/".join(parts[:fixed]))
    with errors_explained("the list of files", pattern.backend, pattern.root):
        found = pattern.fs.glob(pattern.root, detail=True)
        prefix = base.root.rstrip("/") + "/"
        files = {
            path[len(prefix) :]: pinned(pattern.backend, path, info)
            for path, info in sorted(found.items())
            if info["type"] == "file" and not _is_ours(path)
        }
    return _Found(base, files)


# targets --------------------------------------------------------------------------------------


def _single(
    found: _Found, name: str, target: Directory, there: Mapping[str, object] | None, options: TransferOptions
) -> Plan:
    if options.mirror:
        raise InvalidInputError(f"{target.url} is to be a file; mirror makes one folder equal to another")
    folder, path = target.parent()
    known = None if there is None else pinned(target.backend, target.root, there)
    return Plan([_job(found.base, found.files[name], path, folder, known)], folder, is_folder=False)


def _by_path(found: Mapping[str, _Found]) -> dict[str, tuple[Directory, FoundFile]]:
    wanted: dict[str, tuple[Directory, FoundFile]] = {}
    for source in found.values():
        for path, file in source.files.items():
            other = wanted.setdefault(path, (source.base, file))
            if other[1] is not file:
                raise InvalidInputError(
                    f"{other[0].url} and {source.base.url} both have a file {path!r}, and only one can have that path "
                    "at the target: copy them to folders of their own"
                )
    return wanted


def _known(target: Directory, wanted: Mapping[str, object], options: TransferOptions) -> Mapping[str, FoundFile]:
    """Return what the target has; all of it, or only what is wanted, as that is asked for in fewer requests."""
    if options.mirror or options.packs or len(wanted) > _FEW:
        return _listed(target)
    looked = {path: _look(Directory(target.fs, target.path(path))) for path in wanted}
    return {
        path: pinned(target.backend, target.path(path), info)
        for path, info in looked.items()
        if info is not None and info["type"] == "file"
    }


def _obstacles(
    target: Directory, known: Mapping[str, FoundFile], wanted: Mapping[str, object]
) -> tuple[list[str], list[str]]:
    """Return the files of the target that lie where folders go, and its folders that lie where files go."""
    if not target.backend.has_folders:
        return [], []
    folders = {folder for path in known for folder in folders_above(path)}
    needed = {folder for path in wanted for folder in folders_above(path)}
    return sorted(needed & known.keys()), sorted(folders & wanted.keys())


def folders_above(path: str) -> list[str]:
    """Return the folders that a file lies in: ``a`` and ``a/b`` for ``a/b/c``."""
    names = path.split("/")[:-1]
    return ["/".join(names[: count + 1]) for count in range(len(names))]


def _job(base: Directory, file: FoundFile, target_path: str, target: Directory, there: FoundFile | None) -> Job:
    return Job(
        source=base,
        source_path=file.path.removeprefix(f"{base.root.rstrip('/')}/"),
        bytes=file.bytes,
        stamp=file.stamp,
        modified=file.modified,
        target=target,
        target_path=target_path,
        there=there,
        inside=base.fs == target.fs and base.backend.copies_inside,
    )


def _removals(
    sources: Sequence[Directory],
    target: Directory,
    known: Mapping[str, FoundFile],
    wanted: Mapping[str, object],
    options: TransferOptions,
) -> list[str]:
    for source in sources:
        if source.fs == target.fs and _overlap(source.root, target.root):
            raise InvalidInputError(
                f"{source.url} and {target.url} lie in each other, so one cannot be made equal to the other"
            )
    surplus = [path for path in known if path not in wanted]
    if len(surplus) > options.most_removed_fraction * len(known):
        raise InvalidInputError(
            f"{len(surplus)} of the {len(known)} files in {target.url}, such as {surplus[0]!r}, are not in the source, "
            f"and no more than the share {options.most_removed_fraction} of them may be removed: nothing was changed; "
            "see that the source is whole, or raise most_removed_fraction"
        )
    # A version without its manifest is none; one without a file of it would be half a version.
    return sorted(surplus, key=lambda path: (posixpath.basename(path) != MANIFEST_NAME, path))


def _overlap(one: str, other: str) -> bool:
    first, second = f"{one.rstrip('/')}/", f"{other.rstrip('/')}/"
    return first.startswith(second) or second.startswith(first)
