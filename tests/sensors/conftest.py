"""What tests of sensors share: a real triggerer."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest


@pytest.fixture
def returned_by():
    """Return a function that reads what a task of a run returned."""

    def of(run, task_id):
        return run.get_task_instance(task_id).xcom_pull(task_ids=task_id)

    return of


@pytest.fixture
def ended_by_triggerer(serialized):
    """Return a function that runs a DAG of one sensor in a real triggerer, and returns what the task returned."""

    def run(dag, conf=None):
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        run_id = _schedule(serialized(dag), conf or {})
        triggerer = subprocess.Popen([sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"])
        try:
            task = _wait_for_end(run_id, triggerer)
        finally:
            triggerer.terminate()
            triggerer.wait(60)
        assert (task.state, task.try_number) == ("success", 1)
        assert (task.hostname, task.pid) == ("", None), "a worker ran"
        with create_session() as session:
            found = session.scalars(XComModel.get_many(run_id=run_id, key="return_value")).one()
            return XComModel.deserialize_value(found)

    return run


def _schedule(dag, conf):
    """Make a run, and do with its task what the scheduler does; return the run's id."""
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        run = dag.create_dagrun(
            run_id=f"manual-{dag.dag_id}",
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            run_after=datetime.now(UTC),
            state="running",
            conf=conf,
            session=session,
        )
        ready, _ = run.update_state(session=session)
        run.schedule_tis(ready, session=session)
        assert [task.state for task in run.get_task_instances(session=session)] == ["deferred"]
        return run.run_id


def _wait_for_end(run_id, triggerer):
    """Return the task of the run when it has ended."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    deadline = time.monotonic() + 90
    while True:
        with create_session() as session:
            task = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run_id)).one()
            session.expunge_all()
        if task.state != "deferred":
            return task
        if triggerer.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the triggerer has not ended the task: {task.state}")
        time.sleep(0.2)
