"""A version is cleaned into another one, night after night."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.clean import clean_dataset
from airflow_dataflow.datasets.manifest import Manifest
from airflow_dataflow.errors import (
    CorruptDataError,
    EmptySourceError,
    InvalidInputError,
    MissingColumnError,
    NotFoundError,
)
from airflow_dataflow.recipe import load_recipe
from airflow_dataflow.storage.store import Store

TEXTS = [
    "first text",
    None,
    "FIRST  text",
    "hi",
    "mail me: a@b.io",
    "second text",
    "one more",
    "two more",
    "three more",
]
FIRST = pl.DataFrame({"id": range(11, 20), "body": TEXTS, "price": [1.0, 2.0, 3.0, 4.0, None, 900.0, 2.0, 3.0, 4.0]})
SECOND = pl.DataFrame(
    {"id": [21, 22, 23], "body": ["Second Text", "third text", "fourth text"], "price": [5.0, None, 6.0]}
)
RECIPE = load_recipe(
    {
        "id": "id",
        "text": "body",
        "rules": [
            "not_null",
            "exact_duplicates",
            {"text_length": {"min_chars": 5}},
            {"iqr_outliers": {"columns": ["price"]}},
            {"impute": {"columns": ["price"]}},
            "mask_pii",
        ],
    }
)

Make = Callable[..., Manifest]
Open = Callable[[Manifest], Any]


@pytest.fixture
def clean(store: Store) -> Callable[..., Manifest]:
    """Return a function that cleans the newest raw version into ``clean``."""

    def run(raw: Manifest, recipe: Any = RECIPE, **options: Any) -> Manifest:
        return clean_dataset(store, raw.reference, "clean", recipe, at=raw.created_at, **options)

    return run


def test_a_version_holds_data_quarantine_signatures_and_a_report(clean: Make, make_raw: Make, cleaned: Open) -> None:
    raw = make_raw({"a": FIRST})
    made = clean(raw)
    assert [entry.path for entry in made.files] == [
        "data/a.parquet",
        "quarantine/a.parquet",
        "report.html",
        "signatures/exact_duplicates/a.parquet",
        "tallies.json",
    ]
    assert made.parents == (raw.reference,)
    assert made.columns == {"id": "int64", "body": "string", "price": "double"}
    assert cleaned(made).data.rows() == [
        (11, "first text", 1.0),
        (15, "mail me: <EMAIL_ADDRESS>", 2.5),
        (17, "one more", 2.0),
        (18, "two more", 3.0),
        (19, "three more", 4.0),
    ]


def test_every_row_is_kept_or_quarantined_with_its_reason(clean: Make, make_raw: Make, cleaned: Open) -> None:
    made = clean(make_raw({"a": FIRST, "b": SECOND}))
    opened = cleaned(made)
    assert opened.reasons == {
        "12": "missing_body",
        "13": "exact_duplicate",
        "14": "text_too_short",
        "16": "outlier_price",
        "21": "exact_duplicate",
    }
    assert opened.data["id"].to_list() == [11, 15, 17, 18, 19, 22, 23]
    quarantine = opened.rows("quarantine")
    assert quarantine.columns == ["id", "body", "price", "row_id", "rule", "reason", "value", "duplicate_of"]
    said = {row["row_id"]: (row["rule"], row["value"], row["duplicate_of"]) for row in quarantine.iter_rows(named=True)}
    assert said["13"] == ("exact_duplicates", None, "11")
    assert said["14"] == ("text_length", "2", None)
    assert said["16"] == ("iqr_outliers", "900.0", None)
    assert said["21"] == ("exact_duplicates", None, "16")


def test_the_manifest_counts_what_the_files_hold(clean: Make, make_raw: Make, cleaned: Open) -> None:
    made = clean(make_raw({"a": FIRST, "b": SECOND}))
    assert (made.rows_in, made.rows_out, made.rows_quarantined) == (12, 7, 5)
    assert made.quarantined_by_reason == {
        "exact_duplicate": 2,
        "missing_body": 1,
        "outlier_price": 1,
        "text_too_short": 1,
    }
    assert [(one.path, one.rows_in, one.rows_out, one.rows_quarantined) for one in made.sources] == [
        ("data/a.parquet", 9, 5, 4),
        ("data/b.parquet", 3, 2, 1),
    ]
    assert sum(entry.rows or 0 for entry in made.files_under("data")) == made.rows_out
    assert sum(entry.rows or 0 for entry in made.files_under("quarantine")) == made.rows_quarantined
    assert [rule["rows_in"] for rule in made.statistics["rules"]] == [12, 11, 9, 8, 7, 7]
    columns = made.statistics["columns"]
    assert columns["body"] | {"missing": 1, "email_address": 1} == columns["body"]
    assert columns["price"] == {"missing": 2, "outliers": 1, "imputed": 2}


def test_the_second_night_reads_only_new_files(clean: Make, make_raw: Make, cleaned: Open) -> None:
    first = clean(make_raw({"a": FIRST}))
    said: list[tuple[str, int]] = []
    raw = make_raw({"a": FIRST, "b": SECOND}, at=first.created_at + timedelta(days=1))
    second = clean(raw, progress=lambda what, done, total, _: said.append((what, total)))
    assert [(one.path, one.carried_from) for one in second.sources] == [
        ("data/a.parquet", first.version),
        ("data/b.parquet", None),
    ]
    assert said[-1] == ("cleaning", len(SECOND))
    assert (second.rows_in, second.rows_out, second.rows_quarantined) == (12, 7, 5)
    opened = cleaned(second)
    assert opened.reasons["21"] == "exact_duplicate"
    assert sum(second.quarantined_by_reason.values()) == len(opened.rows("quarantine"))


def test_what_was_learned_the_first_night_stays_until_it_is_refitted(clean: Make, make_raw: Make) -> None:
    def learned(made: Manifest) -> list[Any]:
        return [rule["state"] for rule in made.statistics["rules"] if rule["state"]]

    first = clean(make_raw({"a": FIRST}))
    raw = make_raw({"a": FIRST, "b": SECOND}, at=first.created_at + timedelta(days=1))
    second = clean(raw)
    assert learned(second) == learned(first)
    third = clean(raw, refit=True)
    assert learned(third) != learned(first)
    assert all(source.carried_from is None for source in third.sources)
    assert clean(raw, refit=True) == third
    assert clean(raw) == second


def test_a_column_without_values_is_learned_when_it_has_some(clean: Make, make_raw: Make, cleaned: Open) -> None:
    recipe = load_recipe({"rules": [{"impute": {"columns": ["x"]}}]})
    night = pl.DataFrame({"x": pl.Series([None, None], dtype=pl.Float64)})
    first = clean(make_raw({"a": night}), recipe)
    assert cleaned(first).data["x"].to_list() == [None, None]
    files = {"a": night, "b": pl.DataFrame({"x": [3.0, None]})}
    second = clean(make_raw(files, at=first.created_at + timedelta(days=1)), recipe)
    assert cleaned(second).data["x"].to_list() == [None, None, 3.0, 3.0]


def test_a_file_that_changed_is_cleaned_anew_and_one_that_left_is_gone(
    clean: Make, make_raw: Make, cleaned: Open
) -> None:
    recipe = load_recipe({"text": "body", "rules": ["exact_duplicates"]})
    one, two = pl.DataFrame({"body": ["x", "y"]}), pl.DataFrame({"body": ["x", "z"]})
    first = clean(make_raw({"a": one, "b": two}), recipe)
    assert cleaned(first).data["body"].to_list() == ["x", "y", "z"]
    day = timedelta(days=1)
    second = clean(make_raw({"a": pl.DataFrame({"body": ["z", "new"]}), "b": two}, at=first.created_at + day), recipe)
    assert [source.carried_from for source in second.sources] == [None, first.version]
    assert cleaned(second).data["body"].to_list() == ["new", "z"]
    third = clean(make_raw({"c": pl.DataFrame({"body": ["x", "z"]})}, at=first.created_at + 2 * day), recipe)
    assert cleaned(third).data["body"].to_list() == ["x", "z"]
    assert third.rows_in == 2


def test_another_recipe_or_source_takes_nothing_over(clean: Make, make_raw: Make) -> None:
    files = {"a": FIRST}
    first = clean(make_raw(files))
    stricter = load_recipe({"id": "id", "text": "body", "rules": [{"text_length": {"min_chars": 6}}]})
    second = clean(make_raw(files, at=first.created_at + timedelta(days=1)), stricter)
    other = make_raw(files, at=first.created_at + timedelta(days=2), dataset="elsewhere")
    third = clean(other, stricter)
    assert [made.sources[0].carried_from for made in (first, second, third)] == [None, None, None]


def test_a_column_that_only_old_files_have_is_no_error(clean: Make, make_raw: Make, cleaned: Open) -> None:
    recipe = load_recipe({"rules": [{"impute": {"columns": ["price"]}}, {"not_null": {"columns": ["id"]}}]})
    first = clean(make_raw({"a": FIRST}), recipe)
    files = {"a": FIRST, "b": pl.DataFrame({"id": [31], "extra": [True]})}
    second = clean(make_raw(files, at=first.created_at + timedelta(days=1)), recipe)
    assert second.columns == {"id": "int64", "body": "string", "price": "double", "extra": "bool"}
    last = cleaned(second).data.tail(1)
    assert last.select("id", "extra").rows() == [(31, True)]


def test_columns_may_differ_from_file_to_file(clean: Make, make_raw: Make, cleaned: Open) -> None:
    files = {"a": pl.DataFrame({"x": [1]}), "b": pl.DataFrame({"y": ["b"], "x": [2.5]})}
    made = clean(make_raw(files), load_recipe({"rules": [{"not_null": {"columns": ["y"]}}]}))
    opened = cleaned(made)
    assert opened.data.rows() == [(2.5, "b")]
    assert opened.rows("quarantine").select("x", "y", "row_id", "reason").rows() == [(1.0, None, "a:1", "missing_y")]


def test_rows_without_an_id_are_named_by_file_and_number(clean: Make, make_raw: Make, cleaned: Open) -> None:
    files = {"deep/a": pl.DataFrame({"id": ["x", None], "n": [None, None]}), "b": pl.DataFrame({"id": ["y"], "n": [1]})}
    made = clean(make_raw(files), load_recipe({"id": "id", "rules": [{"not_null": {"columns": ["n"]}}]}))
    assert cleaned(made).reasons == {"x": "missing_n", "deep/a:2": "missing_n"}


def test_columns_called_like_what_the_quarantine_says_survive(clean: Make, make_raw: Make, cleaned: Open) -> None:
    rows = pl.DataFrame({"value": [1, None], "reason": ["r", "s"]})
    made = clean(make_raw({"a": rows}), load_recipe({"rules": [{"not_null": {"columns": ["value"]}}]}))
    opened = cleaned(made)
    assert opened.data.rows() == [(1, "r")]
    rejected = opened.rows("quarantine").row(0, named=True)
    assert (rejected["input_value"], rejected["input_reason"], rejected["reason"]) == (None, "s", "missing_value")


def test_the_same_work_is_done_once(clean: Make, make_raw: Make, store: Store) -> None:
    raw = make_raw({"a": FIRST})
    assert clean(raw) == clean(raw)
    assert len(store.catalog.manifests("clean")) == 1


def test_a_recipe_without_rules_keeps_everything(clean: Make, make_raw: Make, cleaned: Open) -> None:
    made = clean(make_raw({"a": FIRST}), load_recipe({"text": "body"}))
    assert cleaned(made).data.equals(FIRST)


@pytest.mark.parametrize(
    ("files", "rules", "error", "message"),
    [
        ({"a": FIRST}, [{"not_null": {"columns": ["bodi"]}}], MissingColumnError, "no column 'bodi' in raw@.*'body'"),
        ({"a": FIRST}, ["gopher_qualty"], InvalidInputError, "did you mean 'gopher_quality'"),
        ({"a": FIRST}, [{"iqr_outliers": {"columns": ["body"]}}], InvalidInputError, "holds String"),
        ({"a": FIRST.clear()}, ["not_null"], EmptySourceError, "raw@.* has no rows to clean"),
        ({}, ["not_null"], EmptySourceError, "has no rows to clean"),
        (
            {"a": FIRST},
            ["not_null", {"text_length": {"min_chars": 99}}],
            EmptySourceError,
            r"none of the 9 rows of raw@.* text_too_short \(8\), missing_body \(1\)",
        ),
    ],
)
def test_bad_input_ends_at_once_and_leaves_nothing(
    clean: Make, make_raw: Make, store: Store, files: Any, rules: Any, error: type[Exception], message: str
) -> None:
    raw = make_raw(files)
    with pytest.raises(error, match=message):
        clean(raw, load_recipe({"text": "body", "rules": rules}))
    assert not store.catalog.manifests("clean")
    assert not [path for path in store.hot.directory.files() if path.startswith("clean/")]


def test_a_truncated_source_file_is_named(clean: Make, make_raw: Make, store: Store) -> None:
    raw = make_raw({"a": FIRST})
    path = Path(store.directory(raw).path("data/a.parquet"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorruptDataError, match=r"data/a\.parquet is no whole Parquet file"):
        clean(raw)


def test_source_and_target_have_to_differ(store: Store, make_raw: Make) -> None:
    raw = make_raw({"a": FIRST})
    with pytest.raises(InvalidInputError, match="clean into another dataset"):
        clean_dataset(store, raw.reference, "raw", RECIPE, at=raw.created_at)
    with pytest.raises(NotFoundError):
        clean_dataset(store, "nowhere@latest", "clean", RECIPE, at=raw.created_at)


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from airflow_dataflow.cleaning.clean import clean_dataset
    from airflow_dataflow.datasets.catalog.catalog import Catalog
    from airflow_dataflow.recipe import load_recipe
    from airflow_dataflow.storage.directory import Directory
    from airflow_dataflow.storage.store import Store
    from airflow_dataflow.storage.tier import Tier

    folder, reference, recipe, left = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    create = Directory.create

    def dying(self, relative, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return create(self, relative, **options)

    Directory.create = dying
    tiers = [Tier(name=name, tier_class=name, url=f"{folder}/{name}") for name in ("hot", "warm", "cold")]
    store = Store(tiers, Catalog(f"sqlite:///{folder}/catalog.db"))
    at = store.manifest(reference).created_at
    clean_dataset(store, reference, "clean", load_recipe(recipe), at=at)
    """
)


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_retry_after_a_kill_gives_the_same_bytes(
    clean: Make, make_raw: Make, store: Store, tmp_path: Path, step: int
) -> None:
    first = clean(make_raw({"a": FIRST}))
    raw = make_raw({"a": FIRST, "b": SECOND}, at=first.created_at + timedelta(days=1))
    command = [sys.executable, "-c", KILLED, str(tmp_path), raw.reference, json.dumps(RECIPE.to_dict()), str(step)]
    killed = subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "default"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(store.catalog.manifests("clean")) == 1
    made = clean(raw)
    after_kill = {entry.path: entry.digest for entry in made.files}
    store.remove_copy(store.hot, "clean", made.version)
    undisturbed = clean(raw)
    assert undisturbed.to_bytes() == made.to_bytes()
    assert {entry.path: entry.digest for entry in undisturbed.files} == after_kill
