"""Counts of files add up to what a manifest says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.cleaning.steps import steps_of
from airflow_dataflow.cleaning.tally import EMPTY, add, rows_of, statistics_of, total, unreadable
from airflow_dataflow.recipe import load_recipe


def test_trees_add_up_branch_by_branch() -> None:
    assert add({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}, "b": {"z": 4}}) == {"a": {"x": 1, "y": 5}, "b": {"z": 4}}


@given(st.lists(st.integers(0, 9), max_size=5))
def test_the_grouping_of_files_does_not_matter(counts: list[int]) -> None:
    trees = [add(EMPTY, {"rows": {"in": count, "out": count}, "missing": {"x": count}}) for count in counts]
    whole = total(trees)
    assert whole == add(total(trees[:2]), total(trees[2:]))
    assert whole["rows"]["in"] == sum(counts)


def test_what_a_rule_saw_is_what_earlier_ones_left() -> None:
    steps = steps_of(load_recipe({"text": "text", "rules": ["not_null", "mask_pii", "text_length"]}))
    tree = {
        "rows": {"in": 10, "out": 5},
        "missing": {"text": 3},
        "rules": {
            "not_null": {"rejected": {"missing_text": 3}},
            "mask_pii": {"email_address": {"text": 2}},
            "text_length": {"rejected": {"text_too_short": 1, "text_too_long": 1}},
        },
    }
    whole = total([tree, unreadable({"malformed_row": 1})])
    rows = rows_of(whole)
    assert (rows.rows_in, rows.rows_out, rows.rows_quarantined) == (11, 5, 6)
    assert rows.quarantined_by_reason == {
        "malformed_row": 1,
        "missing_text": 3,
        "text_too_long": 1,
        "text_too_short": 1,
    }
    statistics = statistics_of(whole, steps)
    assert [(rule["key"], rule["rows_in"]) for rule in statistics["rules"]] == [
        ("ingest", 11),
        ("not_null", 10),
        ("mask_pii", 7),
        ("text_length", 7),
    ]
    assert statistics["columns"] == {"text": {"missing": 3, "email_address": 2}}
