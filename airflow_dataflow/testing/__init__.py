"""Tests that any backend has to pass; pytest is needed here, and nowhere else in the package.

``airflow_dataflow.testing.backend.BackendContract`` is the whole suite; ``docs/how-to/add-a-backend.md`` shows its use.
"""

from __future__ import annotations

import pytest

# Assertions tell what they compared only in modules that pytest was told of before they are imported.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("contents", "files", "folders", "parts", "properties", "versions"))
)
