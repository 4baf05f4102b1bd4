"""Where errors of the library meet Airflow's retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_dataflow.errors import is_terminal


@contextmanager
def fail_at_once_on_terminal_errors() -> Iterator[None]:
    """Fail the task without retries when the block ends in an error that a retry cannot change."""
    try:
        yield
    except Exception as error:
        if not is_terminal(error):
            raise
        raise AirflowFailException(f"{error} ({type(error).__name__}, not retried)") from error
