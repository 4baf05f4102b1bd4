"""What to do where the packages of a server cannot be had: skip its tests, but never in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_dataflow.errors import MissingPackageError


@contextmanager
def skip_without_packages() -> Iterator[None]:
    """Skip the test with the reason when a package is missing; under ``CI`` the test fails."""
    try:
        yield
    except MissingPackageError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
