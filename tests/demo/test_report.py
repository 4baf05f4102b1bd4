"""The report of a night: complete, and its numbers add up."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from airflow_dataflow.cleaning.clean import clean_dataset
from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Rows
from airflow_dataflow.demo.api import TaskState
from airflow_dataflow.demo.report import Night, show_comparison, show_night
from airflow_dataflow.demo.samples import SampleOptions, write_night
from airflow_dataflow.demo.watch import Run
from airflow_dataflow.features.extract import extract_dataset
from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.recipe import load_recipe
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from airflow_dataflow.training.evaluate import evaluate_predictions

SAMPLES = SampleOptions(rows=(600, 150))
RECIPE = load_recipe(
    {
        "id": "message_id",
        "text": "body",
        "label": "intent",
        "rules": [{"not_null": {}}, {"mask_pii": {}}, {"text_length": {"min_chars": 15}}, {"exact_duplicates": {}}],
        "features": [{"text_statistics": {}}],
    }
)
CLASSES = {"praise": ("praise", 7), "complaint": ("complaint", 2), "question [urgent]": ("praise", 1)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return Store([Tier(name="hot", tier_class="hot", url=str(folder))], Catalog(f"sqlite:///{folder}/catalog.db"))


@pytest.fixture(scope="module")
def nights(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Night, Night]:
    folder = tmp_path_factory.mktemp("nights")
    return _night(store, folder, 1), _night(store, folder, 2)


def _night(store: Store, folder: Path, number: int) -> Night:
    write_night(folder / "landing", number, SAMPLES)
    at = datetime(2026, 11, number, 2, 15, tzinfo=UTC)
    raw = ingest(store, str(folder / "landing"), "support/raw", at=at)
    clean = clean_dataset(store, raw.reference, "support/clean", RECIPE, at=at)
    features = extract_dataset(store, clean.reference, "support/features", RECIPE, at=at)
    predictions = pl.DataFrame(
        [
            {"label": label, "prediction": guess}
            for label, (guess, count) in CLASSES.items()
            for _ in range(count * number)
        ]
    )
    judged = evaluate_predictions(predictions, list(CLASSES))
    with store.draft("support/evaluation", at=at, fingerprint=f"{number}" * 64) as draft:
        statistics = {
            "metrics": judged.metrics, "model": "support/model@latest", "classification_report": judged.report,
        }  # fmt: skip
        rows = Rows(rows_in=len(predictions), rows_out=len(predictions))
        evaluation = draft.commit(rows, statistics=statistics)
    tasks = tuple(
        TaskState(name, "success", 1, at, at + timedelta(seconds=seconds))
        for name, seconds in (("ingest", 2.0), ("clean", 4.0), ("features", 1.0), ("evaluate", 3.5))
    )
    versions = {"ingest": raw, "clean": clean, "features": features, "evaluate": evaluation}
    return Night(
        f"Night {number}",
        Run("refresh", f"manual__{number}", "success", 12.5, tasks),
        versions,
        "passed: 0.9 is enough",
    )


def _printed(show: object, *arguments: object) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"), color_system=None)  # noqa: PTH123, SIM115
    with console.file:
        show(console, *arguments)  # type: ignore[operator]
        return console.export_text()


def test_rows_that_came_in_less_every_reason_are_the_rows_kept(store: Store, nights: tuple[Night, Night]) -> None:
    text = _printed(show_night, store, nights[0])
    section = text[text.index("where the rows went") : text.index("kept     ")]
    (rows_in,) = re.findall(r"came in +([\d,]+)", section)
    lost = [int(count) for count in re.findall(r"- (\d+)", section)]
    (kept,) = re.findall(r"kept +=\s+([\d,]+)", text)
    assert len(lost) >= 5
    assert int(rows_in.replace(",", "")) - sum(lost) == int(kept.replace(",", ""))


def test_a_file_that_cannot_be_read_is_named_with_its_reason(store: Store, nights: tuple[Night, Night]) -> None:
    assert re.search(r"archive-20261101\.parquet .* refused: no valid Parquet", _printed(show_night, store, nights[0]))


def test_masked_personal_data_is_counted(store: Store, nights: tuple[Night, Night]) -> None:
    assert re.search(r"body +\d+ credit card, \d+ email address", _printed(show_night, store, nights[0]))


def test_every_class_is_listed_with_its_scores(store: Store, nights: tuple[Night, Night]) -> None:
    text = _printed(show_night, store, nights[0])
    assert re.search(r"praise +0\.875 +1\.000 +0\.933 .* 7", text)
    assert re.search(r"question \[urgent\] +0\.000 +0\.000 +0\.000 .* 1", text)
    assert re.search(r"macro average +0\.625", text)
    assert "gate: passed: 0.9 is enough" in text


def test_each_version_is_listed_with_its_tier(store: Store, nights: tuple[Night, Night]) -> None:
    text = _printed(show_night, store, nights[0])
    for version in nights[0].versions.values():
        assert re.search(rf"{version.dataset} +{version.version} +[\d,]+ +hot", text)


def test_the_longest_task_has_the_longest_bar(store: Store, nights: tuple[Night, Night]) -> None:
    bars = dict(re.findall(r"(\w+) +\d+\.\d +(█+)", _printed(show_night, store, nights[0])))
    assert sorted(bars, key=lambda task: len(bars[task])) == ["features", "ingest", "evaluate", "clean"]


def test_the_comparison_tells_what_was_read_and_what_was_taken_over(nights: tuple[Night, Night]) -> None:
    text = _printed(show_comparison, *nights)
    assert re.search(r"ingest +3 +4 +150 ", text)
    assert re.search(r"clean +3 +3 ", text)


def test_the_comparison_sets_the_nights_side_by_side(nights: tuple[Night, Night]) -> None:
    text = _printed(show_comparison, *nights)
    assert re.search(r"rows in +60\d +75\d", text)
    assert re.search(r"macro_f1 +0\.6444 +0\.6444", text)


def test_a_night_that_made_nothing_has_a_report_of_its_seconds_only(store: Store, nights: tuple[Night, Night]) -> None:
    text = _printed(show_night, store, replace(nights[0], versions={}))
    assert "the whole run" in text
    assert "came in" not in text
