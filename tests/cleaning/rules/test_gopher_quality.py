"""The quality rules of Gopher, each tripped by the shortest text that fails it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from airflow_dataflow.cleaning.rule import RULES
from airflow_dataflow.errors import InvalidInputError

OFF: dict[str, Any] = dict.fromkeys(
    (
        "min_words",
        "max_words",
        "min_mean_word_chars",
        "max_mean_word_chars",
        "max_hashes_per_word",
        "max_ellipses_per_word",
        "max_bullet_lines_fraction",
        "max_ellipsis_lines_fraction",
        "min_alphabetic_words_fraction",
        "min_stop_words",
    )
)


@pytest.mark.parametrize(
    ("parameter", "bound", "text", "reason", "value"),
    [
        ("min_words", 3, "one two", "gopher_too_few_words", "2"),
        ("min_words", 3, "one\u00a0two\u2003\n three", None, None),
        ("min_words", 1, "", "gopher_too_few_words", "0"),
        ("min_words", 1, None, "gopher_too_few_words", "0"),
        ("min_words", 1, " \n\t", "gopher_too_few_words", "0"),
        ("max_words", 2, "one two three", "gopher_too_many_words", "3"),
        ("max_words", 2, "one two", None, None),
        ("min_mean_word_chars", 3.0, "ab  \n cde", "gopher_words_too_short", "2.5"),
        ("min_mean_word_chars", 3.0, "ab cdef", None, None),
        ("max_mean_word_chars", 10.0, "abcdefghijk", "gopher_words_too_long", "11.0"),
        ("max_mean_word_chars", 10.0, "éééééééééé", None, None),
        ("max_hashes_per_word", 0.5, "#a #b", "gopher_too_many_hashes", "1.0"),
        ("max_hashes_per_word", 0.5, "#a b", None, None),
        ("max_ellipses_per_word", 0.5, "a... b…", "gopher_too_many_ellipses", "1.0"),
        ("max_ellipses_per_word", 0.5, "a... b", None, None),
        ("max_bullet_lines_fraction", 0.5, "- a\n\n  • b\nc", "gopher_too_many_bullet_lines", "0.6666666666666666"),
        ("max_bullet_lines_fraction", 0.5, "* a\nb - c", None, None),
        ("max_ellipsis_lines_fraction", 0.5, "a...\r\nb… \nc", "gopher_too_many_ellipsis_lines", "0.6666666666666666"),
        ("max_ellipsis_lines_fraction", 0.5, "a...\nb ... c", None, None),
        ("min_alphabetic_words_fraction", 0.8, "a b c 1", "gopher_too_few_alphabetic_words", "0.75"),
        ("min_alphabetic_words_fraction", 0.8, "你好 1a -é b 99", None, None),
        ("min_alphabetic_words_fraction", 0.8, "٣ ١٢ a", "gopher_too_few_alphabetic_words", "0.3333333333333333"),
        ("min_stop_words", 2, "the the The these", "gopher_too_few_stop_words", "1"),
        ("min_stop_words", 2, "(the) cat,and", None, None),
        ("min_stop_words", 2, "théthe of-and", None, None),
    ],
)
def test_a_text_fails_beyond_the_bound(
    verdict: Callable[..., Any], parameter: str, bound: float, text: str, reason: str | None, value: str | None
) -> None:
    rows = pl.DataFrame({"text": pl.Series([text], dtype=pl.String)})
    assert verdict("gopher_quality", rows, {}, **{**OFF, parameter: bound}) == [(reason, value)]


def test_the_defaults_are_those_of_the_paper() -> None:
    rule = RULES.build("gopher_quality", {})
    thresholds = {name: getattr(rule, name) for name in OFF}
    assert thresholds == {
        "min_words": 50,
        "max_words": 100_000,
        "min_mean_word_chars": 3,
        "max_mean_word_chars": 10,
        "max_hashes_per_word": 0.1,
        "max_ellipses_per_word": 0.1,
        "max_bullet_lines_fraction": 0.9,
        "max_ellipsis_lines_fraction": 0.3,
        "min_alphabetic_words_fraction": 0.8,
        "min_stop_words": 2,
    }
    assert rule.stop_words == ("the", "be", "to", "of", "and", "that", "have", "with")


def test_good_prose_passes_with_the_defaults(verdict: Callable[..., Any]) -> None:
    prose = "The letters that we have to write, and the ones that we keep, tell of days with rain. " * 4
    assert verdict("gopher_quality", pl.DataFrame({"text": [prose]}), {}) == [(None, None)]


def test_an_empty_text_fails_by_its_words_only(verdict: Callable[..., Any]) -> None:
    shares = {name: value for name, value in OFF.items() if name.startswith("max")}
    del shares["max_words"]
    defaults = {name: value for name, value in OFF.items() if name not in shares}
    assert verdict("gopher_quality", pl.DataFrame({"text": [""]}), {}, **defaults) == [(None, None)]


@pytest.mark.parametrize("name", ["stop_words", "bullets"])
@pytest.mark.parametrize("words", [[], [""]])
def test_lists_of_nothing_are_refused_with_the_way_to_switch_off(name: str, words: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="to null"):
        RULES.build("gopher_quality", {name: words})
