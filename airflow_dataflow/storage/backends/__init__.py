"""File systems: one file each, named after fsspec's protocol; the folder is the registry.

fsspec carries the bytes. A backend adds what fsspec lacks: a file that appears whole or not at all, a copy that never
leaves the store, the sole right to write a folder, the free space, and errors that say what to do. :class:`Backend`
does all that for any fsspec file system that can defer its commit; a file in this folder does better for one protocol.
"""

from __future__ import annotations

import errno
import importlib
import pkgutil
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_dataflow.errors import AccessDeniedError, DataflowError, StorageFullError, is_out_of_space

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Backend:
    """What any fsspec file system can do, with the files it makes whole or absent.

    :param fs: the file system; its credentials are its own affair.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs = fs

    @contextmanager
    def create(self, path: str, *, exclusive: bool = False, expected_bytes: int = 0) -> Iterator[BinaryIO]:
        """Open ``path`` for writing; it appears, or replaces what was there, when the block ends without an error.

        :param exclusive: refuse to replace a file.
        :param expected_bytes: size of the file, as far as it is known; a store may cut its parts by it.
        :raises FileExistsError: when ``exclusive`` and the file is there, at the latest when the block ends.
        """
        self.make_folder(posixpath.dirname(path))
        file = self._open(path, exclusive=exclusive, expected_bytes=expected_bytes)
        try:
            yield cast(BinaryIO, file)
            self._publish(file, path, exclusive=exclusive)
        except BaseException:
            file.discard()
            with suppress(AttributeError):
                # fsspec's own kind of file closes itself when it is forgotten, and closing writes.
                file.closed = True
            raise

    def _open(self, path: str, *, exclusive: bool, expected_bytes: int) -> Any:  # noqa: ARG002 - subclasses look
        return self.fs.open(path, "wb", autocommit=False)

    def _publish(self, file: Any, path: str, *, exclusive: bool) -> None:
        file.close()
        if exclusive and self.fs.exists(path):
            raise FileExistsError(f"{path} exists already")
        file.commit()

    def make_folder(self, path: str) -> None:
        """Make sure that files can be created in ``path``."""
        self.fs.makedirs(path, exist_ok=True)

    def copy(self, source: str, target: str) -> None:
        """Copy a file inside this file system, on the server's side where it can."""
        self.make_folder(posixpath.dirname(target))
        self.fs.cp_file(source, target)

    def remove_all(self, path: str) -> None:
        """Remove a folder and all that is in it.

        :raises FileNotFoundError: when it is not there.
        """
        self.fs.rm(path, recursive=True)

    @contextmanager
    def lock(self, path: str) -> Iterator[bool]:  # noqa: ARG002 - subclasses look
        """Hold the sole right to write the folder ``path``; it ends with the block, or with the process.

        :returns: whether nobody else can write there now; ``False`` where the file system has no locks.
        :raises BusyError: when another process holds it.
        """
        yield False

    def contains(self, root: str, path: str) -> bool:  # noqa: ARG002 - subclasses look
        """Tell whether ``path``, which is below ``root`` by its name, is so in truth."""
        return True

    def free_bytes(self, path: str) -> int | None:  # noqa: ARG002 - subclasses look
        """Return the free space where ``path`` lies, ``None`` where nobody can know."""
        return None

    def remove_unfinished(self, root: str, before: datetime) -> list[str]:  # noqa: ARG002 - subclasses look
        """Remove what killed writers left below ``root`` and no listing shows, untouched since ``before``.

        :returns: what was removed.
        """
        return []

    def explain(self, error: Exception, what: str, path: str) -> DataflowError | None:
        """Return an error that says what to do, ``None`` when ``error`` says enough.

        :param error: what the file system raised.
        :param what: name of the file that was being read or written, as a person knows it.
        :param path: its path on the file system.
        """
        if is_out_of_space(error):
            free = self.free_bytes(posixpath.dirname(path))
            known = "" if free is None else f"; without the unfinished file, {free:,} bytes are free there"
            return StorageFullError(
                f"no space left while writing {what} to {path}{known}: delete something, or give it a larger disk"
            )
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
            return AccessDeniedError(f"{what} at {path} is refused ({error}): let this user write there")
        return None


@contextmanager
def errors_explained(what: str, backend: Backend, path: str) -> Iterator[None]:
    """Let the backend turn errors of the file system into such that say what to do."""
    try:
        yield
    except DataflowError:
        raise
    except Exception as error:
        explained = backend.explain(error, what, path)
        if explained is None:
            raise
        raise explained from error


def backend_of(fs: AbstractFileSystem) -> Backend:
    """Return the backend for ``fs``: the file of this folder that is named after one of its protocols."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    known = {module.name for module in pkgutil.iter_modules(__path__)}
    for protocol in protocols:
        if protocol in known:
            module = importlib.import_module(f"{__name__}.{protocol}")
            return cast(Backend, module.BACKEND(fs))
    return Backend(fs)
