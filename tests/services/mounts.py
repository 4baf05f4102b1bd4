"""File systems of the tests: XFS, Btrfs and ext4 in images, mounted through loop devices."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_dataflow.demo.debian import unpacked
from tests.services.packages import skip_without_packages

PACKAGES = ("xfsprogs", "btrfs-progs", "e2fsprogs")
# Btrfs keeps data and what describes it apart otherwise, and once one has taken all of a small image, it stays full.
MKFS = {
    "xfs": ("sbin/mkfs.xfs", "-q", "-m", "reflink=1"),
    "btrfs": ("sbin/mkfs.btrfs", "-q", "--mixed"),
    "ext4": ("sbin/mkfs.ext4", "-q", "-m", "0"),
}
IMAGE_BYTES = 512 << 20
"""Size of an image; it is sparse, and XFS refuses fewer than 300 MB."""


class NotMountedError(Exception):
    """This machine, or this user, cannot mount an image; the message says why."""


@contextmanager
def mounted(kind: str, image_bytes: int = IMAGE_BYTES, folder: Path | None = None) -> Iterator[Path]:
    """Make a file system in an image and mount it.

    :param kind: ``xfs``, ``btrfs`` or ``ext4``.
    :param image_bytes: size of the image.
    :param folder: where the image lies; among the temporary files when ``None``.
    :raises NotMountedError: when this machine or user cannot mount it.
    :raises MissingPackageError: when the tools that make file systems cannot be had.
    """
    if os.geteuid():
        raise NotMountedError(f"mounting {kind} needs root, and this is user {os.geteuid()}")
    tools = unpacked("file-systems", PACKAGES, dependencies=True)
    with tempfile.TemporaryDirectory(prefix=f"dataflow-{kind}-", dir=folder) as name:
        image, point = Path(name, "image"), Path(name, "mounted")
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(image_bytes)
        program, *options = MKFS[kind]
        _run([str(tools / program), *options, str(image)], tools)
        _run(["mount", "-o", "loop", str(image), str(point)], tools)
        try:
            yield point
        finally:
            subprocess.run(["umount", str(point)], check=True)


def _run(command: Sequence[str], tools: Path) -> None:
    libraries = [str(tools / folder / f"{os.uname().machine}-linux-gnu") for folder in ("lib", "usr/lib")]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(libraries)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        raise NotMountedError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        raise NotMountedError(f"'{' '.join(command)}' failed: {done.stderr.strip() or 'no message'}")


def _folder(kind: str) -> Iterator[Path]:
    try:
        with skip_without_packages(), mounted(kind) as point:
            yield point
    except NotMountedError as error:
        # Also under CI: whether a container may mount is not for a test to decide.
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def xfs_folder() -> Iterator[Path]:
    """Return the root of an XFS file system."""
    yield from _folder("xfs")


@pytest.fixture(scope="session")
def btrfs_folder() -> Iterator[Path]:
    """Return the root of a Btrfs file system."""
    yield from _folder("btrfs")


@pytest.fixture(scope="session")
def ext4_folder() -> Iterator[Path]:
    """Return the root of an ext4 file system."""
    yield from _folder("ext4")
