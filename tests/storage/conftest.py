"""Disks of a few kilobytes, for what happens when they are full or must not be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that mounts a small file system in memory and returns its folder."""
    mounted: list[Path] = []

    def small(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting a small disk needs root ({done.stderr.strip()}, user {os.getuid()})")
        mounted.append(folder)
        return folder

    yield small
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
