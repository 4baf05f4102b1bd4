"""The journal of a transfer in a file of this user, for those who have no catalog."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from airflow_dataflow.errors import AccessDeniedError, BusyError
from airflow_dataflow.transfer.journal_log import LogJournal
from airflow_dataflow.transfer.records import lines_of, replay

_SUFFIX = ".jsonl"


def journal_folder() -> Path:
    """Return the folder of this user's journals, by the XDG Base Directory Specification."""
    # Relative paths are to be ignored, says the specification.
    home = os.environ.get("XDG_STATE_HOME", "")
    state = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return state / "airflow-dataflow" / "transfers"


class FileLog:
    """Lines in a file, which one process at a time has locked.

    The first line says where the transfer goes. A line that a kill has cut is cut off.

    :param folder: where journals lie; made when it is missing.
    :param transfer: id of the transfer.
    :param target: URL of its target, without credentials.
    """

    def __init__(self, folder: Path, transfer: str, target: str) -> None:
        self._path = folder / f"{transfer}{_SUFFIX}"
        self._target = target
        self._file = -1
        self._whole = False

    def open(self) -> None:
        """Lock the file, and write it anew without what later lines have replaced.

        :raises BusyError: when another process holds it.
        :raises AccessDeniedError: when it cannot be written.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._locked()
        except PermissionError as error:
            raise AccessDeniedError(
                f"the journal of the transfer cannot be written ({error}): let this user write there, set "
                "XDG_STATE_HOME to another folder, or transfer without a journal (--no-resume)"
            ) from error
        lines = list(self.read())
        shortest = lines_of(replay(lines))
        if len(shortest) < len(lines) or not lines:
            self._replace(shortest)
        else:
            whole = len(self._content())
            if whole < os.fstat(self._file).st_size:
                os.ftruncate(self._file, whole)
            os.lseek(self._file, 0, os.SEEK_END)

    def _locked(self) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _inode(self._path) == os.fstat(file).st_ino:
                    return file
            except BlockingIOError:
                os.close(file)
                raise BusyError(
                    f"another process is at work on the same transfer to {self._target}; wait for it, or end it"
                ) from None
            os.close(file)  # somebody has replaced it before it was ours

    def _replace(self, lines: Sequence[str]) -> None:
        """Write the file anew, so that it is there as it was or as it is to be, whenever a kill comes."""
        new = self._path.with_suffix(".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        _write(file, [json.dumps({"target": self._target}), *lines])
        new.replace(self._path)
        os.close(self._file)
        self._file = file

    def _content(self) -> bytes:
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        return content[: content.rfind(b"\n") + 1]

    def read(self) -> Iterable[str]:
        """Return the lines but the first."""
        return self._content().decode("ascii", errors="replace").splitlines()[1:]

    def append(self, lines: Sequence[str]) -> None:
        """Add lines."""
        self._whole = False
        before = os.fstat(self._file).st_size
        try:
            _write(self._file, lines)
        except OSError:
            os.ftruncate(self._file, before)  # the next line must not go on in a half one
            os.lseek(self._file, 0, os.SEEK_END)
            raise

    def clear(self) -> None:
        """Remove the lines; in the end nothing is left of the transfer."""
        self._replace([])
        self._whole = True

    def close(self) -> None:
        """Unlock the file."""
        if self._whole:
            self._path.unlink(missing_ok=True)
        os.close(self._file)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _write(file: int, lines: Sequence[str]) -> None:
    data = memoryview("".join(f"{line}\n" for line in lines).encode("ascii"))
    while data:
        data = data[os.write(file, data) :]


class FileJournal(LogJournal):
    """A journal in a file, see :class:`FileLog`."""

    def __init__(self, folder: Path, transfer: str, target: str) -> None:
        super().__init__(FileLog(folder, transfer, target))


def journals_in(folder: Path) -> list[tuple[str, str, datetime]]:
    """Return id, target and time of the last change of all journals in a folder."""
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            with path.open("rb") as file:
                target = json.loads(file.readline())["target"]
            found.append((path.stem, target, datetime.fromtimestamp(path.stat().st_mtime, UTC)))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # it has just ended, or is no journal
    return found
