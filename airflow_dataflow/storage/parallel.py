"""Work on many files at once: as many large ones as memory and disks like, and more of those that only wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from airflow_dataflow.storage.directory import Directory

FILES_AT_ONCE = 4
"""Files in flight; each holds a few blocks in memory."""
SMALL_FILE_BYTES = 4 << 20
"""Up to this size a file is in memory as a whole, and its bytes take less time than the requests around them."""

Item = TypeVar("Item")


def in_parallel(work: Callable[[Item], object], items: Iterable[Item], *, at_once: int = FILES_AT_ONCE) -> None:
    """Do ``work`` on every item, a few at a time; the first error stops what has not begun."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="files") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def files_in_parallel(
    work: Callable[[Item], object], items: Iterable[Item], *, size: Callable[[Item], int], places: Iterable[Directory]
) -> None:
    """Do ``work`` on every file: first on the small ones, as many at a time as the slowest place wants, then on others.

    :param size: returns the bytes of a file.
    :param places: where the files are read or written.
    """
    files = list(items)
    small = [item for item in files if size(item) <= SMALL_FILE_BYTES]
    in_parallel(work, small, at_once=max(place.backend.small_files_at_once for place in places))
    in_parallel(work, [item for item in files if size(item) > SMALL_FILE_BYTES])
