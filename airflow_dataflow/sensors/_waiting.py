"""What all sensors have in common: the triggerer waits, from the start to the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, BaseSensorOperator
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import StartTriggerArgs

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger


class WaitingSensor(BaseSensorOperator):
    """Wait in the triggerer; a constructor ends with :meth:`_start_in_triggerer`.

    :param poke_interval: seconds between two looks.
    :param deferrable: whether the triggerer waits; otherwise a worker does.
    """

    def __init__(self, *, poke_interval: timedelta | float, deferrable: bool, **kwargs: Any) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.deferrable = deferrable

    @abstractmethod
    def _trigger(self) -> BaseTrigger:
        """Return the trigger that waits."""

    @property
    @abstractmethod
    def _waited_for(self) -> str:
        """What was waited for in vain, and what a person can do."""

    def _start_in_triggerer(self) -> None:
        """Let Airflow start the task in the triggerer, without a worker.

        Older triggerers do not render templates; there a worker renders them and then hands over.
        """
        self.start_from_trigger = self.deferrable and AIRFLOW_V_3_3_PLUS
        trigger_class, trigger_kwargs = self._trigger().serialize()
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=trigger_class,
            trigger_kwargs=trigger_kwargs,
            next_method="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute(self, context: Context) -> Any:
        """Hand the waiting over to the triggerer, or wait here."""
        if self.deferrable:
            self.defer(trigger=self._trigger(), method_name="execute_complete", timeout=timedelta(seconds=self.timeout))
        with self._timeout_explained():
            return super().execute(context)

    def execute_complete(self, context: Context, event: Any = None) -> None:  # noqa: ARG002 - Airflow's signature
        """End the task after an event that did not end it already: an error that a retry cannot change."""
        if isinstance(event, dict) and "error" in event:
            raise AirflowFailException(event["error"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the waiting."""
        with self._timeout_explained():
            return super().resume_execution(next_method, next_kwargs, context)

    @contextmanager
    def _timeout_explained(self) -> Iterator[None]:
        try:
            yield
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"waited {timedelta(seconds=self.timeout)} for {self._waited_for}") from error
