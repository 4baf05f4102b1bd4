"""What of a folder lies in packs; found out when somebody asks for a file that is not there as it is."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_dataflow.storage.backends import errors_explained
from airflow_dataflow.storage.layout import LAYOUT_NAME, Layout, is_of_layout, is_packable
from airflow_dataflow.storage.listing import FoundFile, list_pinned
from airflow_dataflow.storage.packed import Packs

if TYPE_CHECKING:
    from airflow_dataflow.storage.readable import ReadableDirectory


class Overlay:
    """The packed files of a folder, behind its plain ones; it costs nothing where nobody misses a file.

    :param directory: the folder.
    :param above: the folder that it is a child of, and its path there: that one may have the layout.
    """

    def __init__(self, directory: ReadableDirectory, above: tuple[ReadableDirectory, str] | None) -> None:
        self._directory = directory
        self._above = above
        self._lock = threading.RLock()
        self._packs: Packs | None = None
        self._plain: set[str] = set()
        self._none = False

    def known(self, relative: str) -> Packs | None:
        """Return the packs when they are known to hold a file, ``None`` otherwise; without a request."""
        packs = self._packs
        return packs if packs is not None and relative in packs.files and relative not in self._plain else None

    def look(self, relative: str) -> Packs | None:
        """Return the packs when they hold a file, which is looked up in storage when that has not happened before.

        :raises CorruptDataError: when the layout is damaged.
        """
        if not is_packable(relative):
            return None
        with self._lock:
            if self._packs is None:
                self._load()
            return self.known(relative)

    def written(self, relative: str) -> None:
        """Remember that a plain file was written, which counts in place of a packed one."""
        self._plain.add(relative)

    def removed(self, relative: str) -> None:
        """Remember that a plain file was removed."""
        self._plain.discard(relative)

    def forget(self) -> None:
        """Forget all, because the layout was written."""
        with self._lock:
            self._packs, self._plain, self._none = None, set(), False

    def merged(self, plain: Mapping[str, FoundFile]) -> dict[str, FoundFile]:
        """Return the files that a reader sees, in the order of paths.

        :param plain: what a listing of the folder shows.
        :raises CorruptDataError: when the layout is damaged.
        """
        laid_out = LAYOUT_NAME in plain
        if not laid_out and (plain or self._above is None):
            self._none = True
            return dict(plain)
        with self._lock:
            self._load(plain)
            packs = self._packs
        if packs is None:
            return dict(plain)
        # Without a layout beside them they belong to nothing that is seen; then they are files like others.
        seen = {path: file for path, file in plain.items() if not (laid_out and is_of_layout(path))}
        changed = plain[LAYOUT_NAME].modified if laid_out else None
        root = self._directory.root.rstrip("/")
        for path, file in packs.files.items():
            if path not in seen:
                seen[path] = FoundFile(f"{root}/{path}", file.bytes, packs.stamp(path), changed)
        return {path: seen[path] for path in sorted(seen)}

    @contextmanager
    def without(self, relative: str) -> Iterator[bytes | None]:
        """Yield the layout without a file, to be written in the block, ``None`` when it does not have the file.

        The bytes of the file stay in its objects. One thread at a time is in the block.
        """
        with self._lock:
            packs = None if self._none else self._behind(relative)
            layout = None if packs is None else packs.layout.without([relative])
            yield None if layout is None else layout.to_bytes()
            if packs is not None and layout is not None:
                self._packs = Packs(layout, self._directory.backend, self._directory.root, self._directory.url)

    def _behind(self, relative: str) -> Packs | None:
        """Return the packs of this very folder when they hold a file, also behind a plain one."""
        if not is_packable(relative):
            return None
        packs = self._packs or self._own()
        return packs if packs is not None and packs.is_own and relative in packs.files else None

    def _load(self, plain: Iterable[str] | None = None) -> None:
        self._packs = self._own() or self._inherited()
        if self._packs is not None:
            self._plain = set(self._listed() if plain is None else plain)

    def _own(self) -> Packs | None:
        directory = self._directory
        path = directory.path(LAYOUT_NAME)
        try:
            with (
                errors_explained(LAYOUT_NAME, directory.backend, path),
                directory.backend.open(path, block_size=8 << 20) as file,
            ):
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        layout = Layout.from_bytes(data, f"{directory.url}/{LAYOUT_NAME}")
        return Packs(layout, directory.backend, directory.root, directory.url)

    def _inherited(self) -> Packs | None:
        if self._above is None:
            return None
        folder, inside = self._above
        packs = folder.overlay.packs()
        return None if packs is None else packs.below(posixpath.normpath(inside))

    def packs(self) -> Packs | None:
        """Return the packs of the folder, ``None`` when it has none."""
        with self._lock:
            if self._packs is None:
                self._load()
            return self._packs

    def _listed(self) -> list[str]:
        root = self._directory.root.rstrip("/") + "/"
        found = list_pinned(self._directory.backend, self._directory.root)
        return [path.removeprefix(root) for path in found.files]
