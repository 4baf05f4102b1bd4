"""The errors of this package; an error's type says whether trying again helps.

::

    DataflowError
    ├── TerminalError            a retry ends the same way: fail the task at once
    │   ├── InvalidInputError    a recipe, parameter, name or reference is wrong     (ValueError)
    │   ├── MissingColumnError   a column that a recipe names is not in the data     (LookupError)
    │   ├── NotFoundError        a dataset, version, file or folder does not exist   (LookupError)
    │   ├── EmptySourceError     there is nothing to read, or no row survives        (ValueError)
    │   ├── CorruptDataError     bytes that are no valid file, or fail their digest  (ValueError)
    │   ├── SourceChangedError   a file was replaced or removed while it was being copied       (OSError)
    │   ├── StorageFullError     the target has no space or quota left               (OSError)
    │   ├── AccessDeniedError    a store does not let us in, or not do that          (PermissionError)
    │   ├── ArchivedError        a file lies in an archive, and has to be restored first        (OSError)
    │   ├── GateFailedError      a metric is under its bound
    │   ├── UnsupportedError     a store or database cannot do that                  (NotImplementedError)
    │   └── MissingPackageError  an optional package is not installed                (ImportError)
    └── TransientError           a retry may succeed: leave it to Airflow's retries
        ├── TransferError        bytes arrived changed, or a connection broke        (OSError)
        ├── BusyError            another process is at work on the same thing
        └── JobFailedError       a submitted job died                                (RuntimeError)

Builtin errors pass through unchanged where they say the same thing; :func:`is_terminal` judges those too.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class DataflowError(Exception):
    """Base of every error that this package raises on purpose."""


class TerminalError(DataflowError):
    """A retry cannot help; a person has to change something first."""


class TransientError(DataflowError):
    """A retry may help; nothing has to change first."""


class InvalidInputError(TerminalError, ValueError):
    """A recipe, parameter, name or reference is wrong."""


class MissingColumnError(TerminalError, LookupError):
    """A column that a recipe names is not in the data."""


class NotFoundError(TerminalError, LookupError):
    """A dataset, version, file or folder does not exist."""


class EmptySourceError(TerminalError, ValueError):
    """There is nothing to read, or no row survives."""


class CorruptDataError(TerminalError, ValueError):
    """Bytes that are no valid file, or that fail their recorded digest."""


class SourceChangedError(TerminalError, OSError):
    """A file was replaced or removed while it was being copied; what it holds now is another transfer's affair."""


class StorageFullError(TerminalError, OSError):
    """The target has no space or quota left."""


class AccessDeniedError(TerminalError, PermissionError):
    """A store does not let us in, or does not let us do that."""


class ArchivedError(TerminalError, OSError):
    """A file lies in an archive, and has to be restored before it can be read."""


class GateFailedError(TerminalError):
    """A metric is under its bound, or worse than the last published version."""


class UnsupportedError(TerminalError, NotImplementedError):
    """A store or database has no such ability, whoever asks."""


class MissingPackageError(TerminalError, ImportError):
    """An optional package is needed and is not installed."""


class TransferError(TransientError, OSError):
    """Bytes arrived changed, or a connection broke."""


class BusyError(TransientError):
    """Another process is at work on the same thing; a retry finds what it made."""


class JobFailedError(TransientError, RuntimeError):
    """A job that was submitted to another system died."""


_TERMINAL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ENAMETOOLONG})
_TERMINAL_BUILTINS = (
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    NotImplementedError,
    UnicodeError,
)


def is_terminal(error: BaseException) -> bool:
    """Tell whether trying again is useless.

    :param error: any exception, also one of Python's own.
    :returns: ``True`` for :class:`TerminalError`, for builtins that a retry cannot change (a missing file,
        a refused permission) and for operating system errors about space and limits.
    """
    if isinstance(error, TerminalError):
        return True
    if isinstance(error, TransientError):
        return False
    if isinstance(error, OSError) and error.errno in _TERMINAL_ERRNOS:
        return True
    return isinstance(error, _TERMINAL_BUILTINS)


def is_out_of_space(error: BaseException) -> bool:
    """Tell whether ``error`` says that a disk or quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``choices``, or list them when none is close."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
