"""Refresh a training dataset and its model every night: raw files in, published versions out.

Each task makes one version of one dataset and hands its reference on; a night costs what is new.
Trigger it with your own files and recipe by the form behind "Trigger".
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, Param
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_dataflow.hooks.storage import uri
from airflow_dataflow.operators.cleaning import CleanDatasetOperator
from airflow_dataflow.operators.features import ExtractFeaturesOperator
from airflow_dataflow.operators.storage import IngestDatasetOperator, RebalanceTiersOperator, SweepDatasetsOperator
from airflow_dataflow.operators.training import EvaluateModelOperator, QualityGateOperator, SparkTrainOperator
from airflow_dataflow.operators.transfer import TransferOperator
from airflow_dataflow.sensors.storage import ObjectSensor
from airflow_dataflow.settings import landing_url, publish_url

RECIPE = {
    "id": "message_id",
    "text": "body",
    "label": "intent",
    "rules": [
        {"not_null": {}},
        {"mask_pii": {}},
        {"text_length": {"min_chars": 10, "max_chars": 5000}},
        {"gopher_quality": {"min_words": 3, "min_stop_words": None, "min_alphabetic_words_fraction": 0.6}},
        {"exact_duplicates": {}},
        {"iqr_outliers": {"columns": ["response_seconds"], "k": 3.0, "action": "clip"}},
        {"impute": {"columns": ["response_seconds"]}},
    ],
    "features": [{"text_statistics": {}}, {"hashed_tfidf": {}}, {"numeric": {"columns": ["response_seconds"]}}],
}
TRAINERS = ["logistic_regression", "linear_regression"]
GATE = {"metric": "macro_f1", "min_value": 0.5, "max_drop": 0.05}
PARTS = ("raw", "clean", "features", "model", "evaluation")

with DAG(
    "nightly_dataset_refresh",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("15 2 * * *", timezone="UTC"), assets=[Asset(uri=uri(landing_url()))]
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": True},
    params={
        "source": Param(landing_url(), type="string", title="Raw files", description="Folder, file or pattern to read"),
        "dataset": Param("support", type="string", title="Dataset", description="Makes NAME/raw, NAME/clean and so on"),
        "recipe": Param(RECIPE, type=["object", "string"], title="Recipe", description="Or the path of a recipe file"),
        "trainer": Param(TRAINERS[0], type="string", title="Trainer", examples=TRAINERS),
        "trainer_parameters": Param({}, type="object", title="Parameters of the trainer"),
        "gate": Param(GATE, type="object", title="Quality gate", description="What a model must reach to be published"),
        "publish_url": Param(publish_url(), type="string", title="Publish to", description="Folder or URL"),
    },
    tags=["dataflow"],
) as dag:
    raw, clean, features, model, evaluation = (f"{{{{ params.dataset }}}}/{part}" for part in PARTS)
    recipe = dag.param("recipe")
    wait = ObjectSensor(task_id="wait_for_files", url="{{ params.source }}", timeout=timedelta(hours=6))
    ingested = IngestDatasetOperator(task_id="ingest", source="{{ params.source }}", target=raw)
    cleaned = CleanDatasetOperator(task_id="clean", source=ingested.output, target=clean, recipe=recipe)
    extracted = ExtractFeaturesOperator(task_id="features", source=cleaned.output, target=features, recipe=recipe)
    fit = {"trainer": "{{ params.trainer }}", "parameters": dag.param("trainer_parameters")}
    trained = SparkTrainOperator(task_id="train", source=extracted.output, target=model, **fit)
    evaluated = EvaluateModelOperator(task_id="evaluate", source=trained.output, target=evaluation)
    passed = QualityGateOperator(task_id="gate", source=evaluated.output, gate=dag.param("gate"))
    versions = [task.output for task in (cleaned, extracted, trained, evaluated)]
    published = TransferOperator(task_id="publish", source=versions, target="{{ params.publish_url }}")
    cooled = RebalanceTiersOperator(task_id="cool_down", datasets=[raw, clean, features, model, evaluation])
    wait >> ingested
    passed >> published >> cooled >> SweepDatasetsOperator(task_id="sweep")
