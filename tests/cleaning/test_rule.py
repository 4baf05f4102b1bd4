"""Measuring, deciding and naming are the same for all rules."""

from __future__ import annotations

import polars as pl
import pytest

from airflow_dataflow.cleaning.rule import RULES, Check, collapse_whitespace, judge, name_of
from airflow_dataflow.errors import InvalidInputError


def test_the_first_failure_is_the_reason_with_its_own_value() -> None:
    measured = pl.DataFrame({"a": [1, 5, 5, None], "b": [0.25, 0.25, 0.75, 0.75]})
    checks = [
        Check(reason="small", failed=pl.col("a") < 3, measure="a"),
        Check(reason="large", failed=pl.col("b") > 0.5, measure="b"),
    ]
    assert judge(measured, checks, reason="why", value="what").rows() == [
        ("small", "1"),
        (None, None),
        ("large", "0.75"),
        ("large", "0.75"),
    ]


@pytest.mark.parametrize("name", RULES.names)
def test_a_rule_knows_its_name(name: str) -> None:
    assert name_of(RULES.get(name)()) == name


@pytest.mark.parametrize(
    ("text", "flat"),
    [
        (" a  b\n", "a b"),
        ("a\tb\r\n\r\nc", "a b c"),
        ("\u00a0a\u2003\u3000b\u00a0", "a b"),
        ("a b", "a b"),
        ("\x00 \x00", "\x00 \x00"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_runs_of_whitespace_become_one_blank(text: str, flat: str) -> None:
    assert pl.select(collapse_whitespace(pl.lit(text))).item() == flat


def test_an_unknown_rule_or_parameter_comes_with_a_hint() -> None:
    with pytest.raises(
        InvalidInputError, match="no cleaning rule named 'gopher_qualty'; did you mean 'gopher_quality'"
    ):
        RULES.build("gopher_qualty", {})
    with pytest.raises(InvalidInputError, match="has no parameter 'min_word'; did you mean 'min_words'"):
        RULES.build("gopher_quality", {"min_word": 3})
