"""What goes wrong between us and HDFS, as errors of one kind, whichever way led there."""

from __future__ import annotations

import errno
import re

_NO_TARGET = re.compile(
    r"could only be (?:written|replicated) to .*There are (\d+) datanode\(s\) running and (\S+) node\(s\) are excluded",
    re.DOTALL,
)


class HdfsServerError(OSError):
    """What a server answered that no error of Python's says.

    :param kind: name of the Java exception.
    :param message: its first line.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(errno.EIO, f"{kind}: {message}")
        self.kind = kind


class UnreachableError(ConnectionError):
    """No server answers, or a connection broke."""


class DataNodeError(UnreachableError):
    """The NameNode answers, but the DataNode that it has named does not."""


class StandbyError(UnreachableError):
    """The NameNodes answer, but none of them is active."""


class SafeModeError(OSError):
    """The NameNode refuses changes until enough DataNodes have told of their blocks, or somebody ends it."""


class FileHeldError(OSError):
    """Another client writes the file, or the end of its writing is still being found out."""


class UntrustedError(OSError):
    """The server's certificate is not one that we trust."""


_NAMED: dict[str, tuple[type[OSError], int]] = {
    "FileNotFoundException": (FileNotFoundError, errno.ENOENT),
    "FileAlreadyExistsException": (FileExistsError, errno.EEXIST),
    "AccessControlException": (PermissionError, errno.EACCES),
    "AuthorizationException": (PermissionError, errno.EACCES),
    "AuthenticationException": (PermissionError, errno.EACCES),
    "SecurityException": (PermissionError, errno.EACCES),
    "SnapshotAccessControlException": (PermissionError, errno.EACCES),
    "ParentNotDirectoryException": (NotADirectoryError, errno.ENOTDIR),
    "PathIsNotDirectoryException": (NotADirectoryError, errno.ENOTDIR),
    "PathIsNotEmptyDirectoryException": (OSError, errno.ENOTEMPTY),
    "PathComponentTooLongException": (OSError, errno.ENAMETOOLONG),
    "DSQuotaExceededException": (OSError, errno.EDQUOT),
    "NSQuotaExceededException": (OSError, errno.EDQUOT),
    "QuotaByStorageTypeExceededException": (OSError, errno.EDQUOT),
    "QuotaExceededException": (OSError, errno.EDQUOT),
    "StandbyException": (StandbyError, errno.EHOSTDOWN),
    "RetriableException": (StandbyError, errno.EHOSTDOWN),
    "ObserverRetryOnActiveException": (StandbyError, errno.EHOSTDOWN),
    "AlreadyBeingCreatedException": (FileHeldError, errno.EBUSY),
    "RecoveryInProgressException": (FileHeldError, errno.EBUSY),
}


def fault(kind: str, message: str, path: str) -> OSError:
    """Return the error that a server's answer means.

    :param kind: name of the Java exception, with or without its package.
    :param message: its message; a stack trace after the first line is dropped.
    :param path: what the request was about.
    """
    kind = re.split(r"[.$]", kind)[-1]
    text = message.split("\n", 1)[0].strip()
    told = _told_by_its_text(message, text, path)
    if told is not None:
        return told
    if kind in _NAMED:
        error, number = _NAMED[kind]
        return error(number, text, path)
    return HdfsServerError(kind, text)


def _told_by_its_text(message: str, text: str, path: str) -> OSError | None:
    """Return the error of an exception whose name says less than its message."""
    if "safe mode" in message.lower():
        return SafeModeError(errno.EAGAIN, text, path)
    if "lease recovery is in progress" in message:
        return FileHeldError(errno.EBUSY, text, path)
    if "is not a directory" in text.lower():
        return NotADirectoryError(errno.ENOTDIR, text, path)
    if "Path is not a file" in text or text.endswith("must both be directories"):
        return IsADirectoryError(errno.EISDIR, text, path)
    no_target = _NO_TARGET.search(message)
    if no_target is None:
        return None
    running, excluded = no_target.groups()
    is_full = int(running) > 0 and excluded in ("no", "0")
    return OSError(errno.ENOSPC, text, path) if is_full else UnreachableError(errno.EHOSTDOWN, text, path)
