"""Steps say what they read, and refuse data that does not suit them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.steps import check_columns, columns_for, fingerprint_of_steps, names_beside, steps_of
from airflow_dataflow.errors import InvalidInputError, MissingColumnError
from airflow_dataflow.recipe import Recipe, load_recipe


def recipe(*rules: Any, **keys: Any) -> Recipe:
    """Return a recipe."""
    return load_recipe({"text": "text", **keys, "rules": list(rules)})


def check(given: Recipe, schema: dict[str, Any]) -> None:
    """Check the columns of a dataset."""
    check_columns(steps_of(given), given, schema, "support/raw@latest")


def test_a_missing_column_is_named_with_rule_dataset_and_the_closest_name() -> None:
    with pytest.raises(MissingColumnError) as raised:
        check(recipe("not_null", text="bodyy"), {"body": pl.String(), "intent": pl.String()})
    assert str(raised.value) == (
        "no column 'bodyy' in support/raw@latest, needed by cleaning rule 'not_null'; did you mean 'body'?"
    )


def test_the_id_has_to_be_there_too() -> None:
    with pytest.raises(MissingColumnError, match="needed by the recipe's 'id'"):
        check(recipe(id="nr"), {"text": pl.String()})


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"iqr_outliers": {"columns": ["x"]}}, pl.String()),
        ({"iqr_outliers": {"columns": ["x"]}}, pl.Boolean()),
        ({"impute": {"columns": ["x"], "strategy": "mean"}}, pl.Date()),
        ({"text_length": {"column": "x"}}, pl.List(pl.String())),
        ({"mask_pii": {"columns": ["x"]}}, pl.Binary()),
    ],
)
def test_a_column_of_the_wrong_kind_is_refused(rule: Any, kind: pl.DataType) -> None:
    with pytest.raises(InvalidInputError, match="column 'x' of support/raw@latest holds"):
        check(recipe(rule), {"x": kind})


@pytest.mark.parametrize("kind", [pl.Int8(), pl.UInt64(), pl.Float32(), pl.Decimal(38, 2), pl.Null()])
def test_numbers_of_every_kind_suit_numeric_rules(kind: pl.DataType) -> None:
    check(recipe({"iqr_outliers": {"columns": ["x"]}}), {"x": kind})


def test_names_that_the_kernels_use_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="__reason"):
        check(recipe(), {"__reason": pl.String()})


def test_the_fingerprint_follows_what_happens_to_a_row() -> None:
    def fingerprint(*rules: Any, **keys: Any) -> str:
        given = recipe(*rules, **keys)
        return fingerprint_of_steps(steps_of(given), given)

    base = fingerprint("not_null", {"text_length": {"min_chars": 1}})
    assert base == fingerprint({"not_null": {"columns": ["text"]}}, "text_length")
    assert base == fingerprint("not_null", "text_length", features=["text_statistics"])
    others = [
        fingerprint("text_length", "not_null"),
        fingerprint("not_null", {"text_length": {"min_chars": 2}}),
        fingerprint("not_null", "text_length", text="body"),
        fingerprint("not_null", "text_length", id="id"),
        fingerprint("not_null"),
    ]
    assert len({base, *others}) == len(others) + 1


def test_a_look_reads_only_what_matters() -> None:
    given = recipe(
        "not_null",
        "mask_pii",
        "exact_duplicates",
        {"iqr_outliers": {"columns": ["price"], "action": "clip"}},
        {"impute": {"columns": ["price", "age"]}},
        id="id",
    )
    steps = steps_of(given)

    def read(target: int, decided: int) -> tuple[list[str], list[str]]:
        columns, taken = columns_for(steps[:target], decided, steps[target], given)
        return columns, [step.key for step in taken]

    assert read(2, 0) == (["text", "id"], ["not_null", "mask_pii"])
    assert read(3, 3) == (["price"], [])
    assert read(4, 3) == (["price", "age"], ["iqr_outliers"])


def test_columns_called_like_what_the_quarantine_says_get_another_name() -> None:
    assert names_beside(("value", "rule"), ["value", "x"]) == {"value": "input_value"}
    assert names_beside(("value",), ["value", "input_value"]) == {"value": "input_input_value"}
