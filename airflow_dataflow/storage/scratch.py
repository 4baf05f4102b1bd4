"""Folders for the time of one piece of work, which nobody has to clean up after a process that was killed."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_dataflow.errors import StorageFullError, is_out_of_space

log = logging.getLogger(__name__)

PREFIX = "dataflow-ingest-"
"""What the names of the folders begin with."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder on the disk that ``TMPDIR`` names, and remove it in the end.

    Before that, folders of the same user are removed whose processes were killed. Living ones hold a lock
    on theirs, which the kernel takes away with the process.

    :raises StorageFullError: when that disk is full.
    """
    remove_abandoned()
    folder, lock = _make()
    try:
        yield folder
    except OSError as error:
        if not is_out_of_space(error):
            raise
        raise StorageFullError(
            f"no space left in {folder}, where new files are staged: free some, or let TMPDIR name a larger disk"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            # Another process took it for abandoned in the moment before it was locked.
            os.close(lock)


def remove_abandoned() -> None:
    """Remove this user's scratch folders whose processes have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                log.info("removed %s, which a killed process has left", folder)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
