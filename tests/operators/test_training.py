"""The operators that train, judge and gate, with real Spark applications: on this machine and on a cluster."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.request
from datetime import timedelta
from http.client import HTTPException

import psutil
import pyarrow as pa
import pytest
from airflow.sdk import DAG, Param

from airflow_dataflow.errors import InvalidInputError, JobFailedError
from airflow_dataflow.operators._spark import mapping
from airflow_dataflow.operators.training import EvaluateModelOperator, QualityGateOperator, SparkTrainOperator
from airflow_dataflow.training.child import ending_with_this_process
from airflow_dataflow.training.submission import JobSpec, find_spark_home, spark_environment
from tests.training.versions import FEATURES, make_features, make_model, tables

pytestmark = pytest.mark.airflow

WAIT_SECONDS = 90
GATE = {"metric": "macro_f1", "min_value": 0.9, "max_drop": 0.05}


@pytest.fixture
def train_and_judge(connected_store, run_dag):
    """Return a function that runs a DAG from features to the gate."""

    def run(gate=GATE, source=FEATURES, **options):
        again = {"retries": 9, "retry_delay": timedelta(0)}
        with DAG("trains", schedule=None, default_args=again, params={"gate": Param(gate, type="object")}) as dag:
            trained = SparkTrainOperator(task_id="train", source=source, target="support/model", **options)
            judged = EvaluateModelOperator(task_id="evaluate", source=trained.output, target="support/evaluation")
            QualityGateOperator(task_id="gate", source=judged.output, gate=dag.param("gate"))
        return run_dag(dag, logical_date=None)

    return run


def _states(run):
    return {task.task_id: (task.state, task.try_number) for task in run.get_task_instances()}


@pytest.mark.spark
def test_a_model_is_trained_judged_and_passes_the_gate(
    train_and_judge, connected_store, returned, events, lineage, capfd, monkeypatch, tmp_path
):
    make_features(connected_store, tables())
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    run = train_and_judge(parameters='{"regularisation": 0.001}')
    assert _states(run) == {"train": ("success", 1), "evaluate": ("success", 1), "gate": ("success", 1)}
    model = connected_store.manifest(returned(run, "train"))
    assert model.recipe["parameters"]["regularisation"] == 0.001
    evaluation = connected_store.manifest(returned(run, "evaluate"))
    assert evaluation.parents == (model.reference,)
    assert returned(run, "gate") == evaluation.reference
    extras = {uri.rpartition("/")[2]: extra for uri, extra in events(run)}
    assert extras["model"]["kind"] == "model"
    assert extras["evaluation"]["metrics"]["macro_f1"] == 1
    assert lineage()[1] == [f"dataflow://dataflow_default/support/{name}" for name in ("model", "evaluation")]
    log = capfd.readouterr().out
    assert f"passed: macro_f1 of {evaluation.reference} is 1.0000; not under min_value 0.9" in log
    assert "Spark runs on this machine" in log
    assert log.count("WARN") == 0
    assert set(tmp_path.iterdir()) == before
    link = run.get_task_instance("evaluate").xcom_pull(task_ids="evaluate", key="_link_ReportLink")
    assert link.endswith(f"/dataflow/reports/dataflow_default/support/evaluation/{evaluation.version}")


def test_a_model_that_fails_the_gate_stops_the_run_without_retries(connected_store, run_dag, capfd):
    predictions = pa.table({"row_id": ["1"], "label": ["top up"], "prediction": ["card_arrival"]})
    make_model(connected_store, make_features(connected_store, tables()), predictions)
    again = {"retries": 9, "retry_delay": timedelta(0)}
    with DAG("judges", schedule=None, default_args=again) as dag:
        judged = EvaluateModelOperator(task_id="evaluate", source="support/model", target="support/evaluation")
        QualityGateOperator(task_id="gate", source=judged.output, gate=json.dumps(GATE))
    assert _states(run_dag(dag, logical_date=None)) == {"evaluate": ("success", 1), "gate": ("failed", 1)}
    assert "is 0.0000; under min_value 0.9. Nothing is published" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "support/featurs"}, "did you mean 'support/features'"),
        ({"trainer": "logistic_regresion"}, "did you mean 'logistic_regression'"),
        ({"parameters": "[1]"}, "parameters has to be a mapping, got [1]"),
    ],
    ids=["source", "trainer", "parameters"],
)
def test_wrong_arguments_fail_at_once_without_spark(train_and_judge, connected_store, capfd, options, message):
    make_features(connected_store, tables())
    assert _states(train_and_judge(**options))["train"] == ("failed", 1)
    assert message in capfd.readouterr().out


def test_a_wrong_gate_fails_at_once(connected_store, run_dag, capfd):
    with DAG("gates", schedule=None) as dag:
        QualityGateOperator(
            task_id="gate", source="support/evaluation", gate={"metric": "accuracy", "minimum": 1}, retries=9
        )
    assert _states(run_dag(dag, logical_date=None)) == {"gate": ("failed", 1)}
    assert "gate has no parameter 'minimum'" in capfd.readouterr().out


@pytest.mark.parametrize(("value", "result"), [(None, {}), ("", {}), ({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1})])
def test_mappings_may_come_as_json(value, result):
    assert mapping(value, "conf") == result


@pytest.mark.parametrize("value", ["{", "[]", 3])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(InvalidInputError, match="conf "):
        mapping(value, "conf")


@pytest.mark.spark
def test_a_task_that_is_stopped_kills_its_application(tmp_path):
    application = tmp_path / "application.py"
    application.write_text(
        "from airflow_dataflow.training.jobs._application import main\n"
        "import os, time\n"
        "def run(spark, job, folder):\n"
        "    (folder / 'pids').write_text(f'{os.getpid()} {os.getppid()}')\n"
        "    time.sleep(600)\n"
        "main(run)\n"
    )
    spec = JobSpec(application=application, name="a test", folder=tmp_path)
    spec.write({})
    task = SparkTrainOperator(task_id="train", source=FEATURES, target="support/model")
    errors = []

    def work():
        try:
            task.run_job(spec)
        except JobFailedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pids = tmp_path / "pids"
    _wait(lambda: pids.exists() and pids.read_text())
    processes = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    task.on_kill()
    thread.join(WAIT_SECONDS)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    assert "killed, by a person or for want of memory" in str(errors[0])


@pytest.fixture
def cluster(tmp_path):
    """Start a standalone master with one worker on loopback, and return its URL and that of its state."""
    spec = JobSpec(application=tmp_path, name="cluster", folder=tmp_path)
    environment = spark_environment(spec, "spark://") | {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "SPARK_LOG_DIR": str(tmp_path),
    }
    port, web = _free_port(), _free_port()
    url, state = f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{web}/json/"
    master = ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    worker = ["worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
    worker += ["--work-dir", str(tmp_path / "work"), url]
    spark_class = str(find_spark_home() / "bin" / "spark-class")
    with (tmp_path / "cluster.log").open("w") as log:
        processes = [
            subprocess.Popen(
                ending_with_this_process([spark_class, f"org.apache.spark.deploy.{command[0]}", *command[1:]]),
                env=environment,
                stdout=log,
                stderr=log,
            )
            for command in (master, worker)
        ]
    try:
        _wait(lambda: _cluster(state).get("aliveworkers"))
        yield url, state
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)


@pytest.mark.spark
def test_a_cluster_trains_by_connection(train_and_judge, connected_store, cluster, monkeypatch, capfd):
    url, state = cluster
    host, _, port = url.rpartition(":")
    connection = {"conn_type": "spark", "host": host, "port": int(port), "extra": {"deploy-mode": "cluster"}}
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps(connection))
    make_features(connected_store, tables())
    conf = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    states = _states(train_and_judge(conf=conf))
    assert states == {"train": ("success", 1), "evaluate": ("success", 1), "gate": ("success", 1)}, capfd.readouterr()
    _wait(lambda: _cluster(state).get("completedapps"))
    (application,) = _cluster(state)["completedapps"]
    assert application["name"].startswith("logistic_regression support/model@")
    assert application["state"] == "FINISHED"


def _cluster(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except (OSError, HTTPException, ValueError):  # it starts
        return {}


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
