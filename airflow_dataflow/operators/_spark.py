"""How operators run the packaged Spark applications: through the hook of the official provider, in client mode."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook, Connection

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.operators._dataset import DatasetOperator

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    from airflow_dataflow.training.submission import JobSpec

_THIS_MACHINE = "local[*]"
_EXIT_CODE = re.compile(r"Error code is: (-?\d+)")
_OUTPUT = "Last spark-submit output:\n"


class SparkOperator(DatasetOperator):
    """Make a version by a Spark application.

    The driver runs on the worker, in client mode, whatever the connection says. It ends with the task, even when the
    task's process is killed. The executors of a cluster have to see the hot tier of the store under the same path.

    :param spark_conn_id: Airflow connection of type ``spark`` whose host is the master, e.g. ``spark://host:7077`` or
        ``local[4]``; Spark runs on all cores of this machine when it is not defined (templated).
    :param driver_memory: memory of the driver, which also trains when the master is local, e.g. ``2g`` (templated).
    :param conf: Spark properties, e.g. ``{"spark.executor.memory": "4g"}``, as a mapping or as JSON (templated).
    """

    def __init__(
        self,
        *,
        spark_conn_id: str = "spark_default",
        driver_memory: str = "2g",
        conf: Mapping[str, str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spark_conn_id = spark_conn_id
        self.driver_memory = driver_memory
        self.conf = conf
        self._hook: SparkSubmitHook | None = None

    def run_job(self, spec: JobSpec) -> None:
        """Submit an application and wait for its end.

        :raises TerminalError: when it has failed and a retry would end the same way.
        :raises JobFailedError: when it has failed otherwise.
        """
        from airflow_dataflow.training.submission import spark_conf, spark_environment

        connection = self._connection()
        master = connection.host or ""
        self._hook = _submit_hook(
            connection,
            conf=spark_conf(spec, master, mapping(self.conf, "conf")),
            name=spec.name,
            driver_memory=self.driver_memory,
            deploy_mode="client",
            application_args=spec.arguments,
        )
        try:
            self._hook.submit(
                str(spec.application),
                env=spark_environment(spec, master),
                cwd=spec.folder,
                encoding="utf-8",
                errors="replace",
            )
        except AirflowException as error:
            message = str(error)
            code = _EXIT_CODE.search(message)
            raise spec.failure(message.partition(_OUTPUT)[2], int(code[1]) if code else None) from error
        except BaseException:
            self.on_kill()
            raise

    def on_kill(self) -> None:
        """Kill the application."""
        if self._hook is not None:
            self._hook.on_kill()

    def _connection(self) -> Connection:
        try:
            return BaseHook.get_connection(self.spark_conn_id)
        except AirflowNotFoundException:
            self.log.info("no connection %r: Spark runs on this machine", self.spark_conn_id)
            return Connection(conn_id=self.spark_conn_id, conn_type="spark", host=_THIS_MACHINE)


def mapping(value: Mapping[str, Any] | str | None, what: str) -> dict[str, Any]:
    """Return a mapping that may have come through a template, and so as JSON text.

    :param what: name of the argument, for the message.
    :raises InvalidInputError: when it is something else.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError as error:
            raise InvalidInputError(f"{what} is not JSON: {error}") from error
    if value is not None and not isinstance(value, Mapping):
        raise InvalidInputError(f"{what} has to be a mapping, got {value!r:.80}")
    return dict(value or {})


def _submit_hook(connection: Connection, **options: Any) -> SparkSubmitHook:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    from airflow_dataflow.training.child import ending_with_this_process

    class Hook(SparkSubmitHook):
        """The official hook, for a connection that may exist only here, whose program ends with this process."""

        @classmethod
        def get_connection(cls, conn_id: str) -> Connection:  # noqa: ARG003 - there is but one
            return connection

        def _build_spark_submit_command(self, application: str) -> list[str]:
            return ending_with_this_process(super()._build_spark_submit_command(application))

        def submit(self, application: str = "", **options: Any) -> str | None:
            try:
                return super().submit(application, **options)
            finally:
                if self._submit_sp is not None:
                    self._submit_sp.stdout.close()

    return Hook(conn_id=connection.conn_id, **options)
