"""The suite that every backend has to pass; it is part of the package, so that others can run it."""

from __future__ import annotations

from airflow_dataflow.testing.backend import BackendContract

__all__ = ["BackendContract"]
