"""Programs that end with the process that starts them; this file is also the small program that sees to it.

The standard library would do it by ``preexec_fn``, which runs Python between fork and exec. In a process with threads
of other libraries, such as those of an HDFS client or of gRPC, that may wait for ever for a lock that a thread held.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_NOT_FOUND, _CANNOT_RUN = 127, 126  # as a shell says it


def end_with_parent() -> None:
    """Ask the kernel to end this process when the thread that started it ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ending_with_this_process(command: Sequence[str]) -> list[str]:
    """Return a command that runs ``command``, by the same process id, and ends it when the calling thread ends.

    A task that is killed takes its Spark with it: an application without its task would go on writing in a folder
    that the next attempt uses.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(arguments: list[str]) -> int:
    """Become the program that the arguments name, after the id of the parent."""
    parent, *command = arguments
    end_with_parent()
    if os.getppid() != int(parent):
        return _CANNOT_RUN  # the parent ended before the kernel knew what to do then
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except FileNotFoundError:
        sys.stderr.write(f"{command[0]} was not found: install it, or put its folder into PATH\n")
        return _NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error}\n")
        return _CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
