from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.features.extractors.text_statistics import TextStatistics

RAW = TextStatistics(column="body", standardise=False)
TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=10)


def frame(documents: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"body": documents}, schema={"body": pl.String})


@pytest.mark.parametrize(
    ("text", "statistics"),
    [
        ("", {}),
        (None, {}),
        ("Hello", {"characters": 5, "words": 1, "mean_word_length": 5, "uppercase_fraction": 0.2, "lines": 1}),
        (
            "See https://a.b or WWW.c.d!\nNow?",
            {
                "characters": 32, "words": 5, "mean_word_length": 5.6, "uppercase_fraction": 5 / 32,
                "punctuation_fraction": 8 / 32, "lines": 2, "question_marks": 1, "exclamation_marks": 1, "urls": 2,
            },
        ),
        (
            "ÄÖ 12 ٣ 東京。",
            {
                "characters": 11, "words": 4, "mean_word_length": 2, "uppercase_fraction": 2 / 11,
                "digit_fraction": 3 / 11, "punctuation_fraction": 1 / 11, "non_ascii_fraction": 6 / 11, "lines": 1,
            },
        ),
        (" \u00a0\u2003\n", {"characters": 4, "non_ascii_fraction": 0.5, "lines": 2}),
        ("😀", {"characters": 1, "words": 1, "mean_word_length": 1, "non_ascii_fraction": 1, "lines": 1}),
    ],
)  # fmt: skip
def test_statistics_of_a_text(text: str | None, statistics: dict[str, float]) -> None:
    found = RAW.transform(frame([text]), {}).row(0, named=True)
    expected = dict.fromkeys(RAW.makes, 0.0) | {f"body_{name}": value for name, value in statistics.items()}
    assert found == pytest.approx(expected)


@given(TEXTS)
def test_fractions_lie_between_zero_and_one_and_everything_is_finite(texts: list[str]) -> None:
    found = RAW.transform(frame(texts), {})
    assert found.select(pl.all().is_finite().all()).row(0) == (True,) * len(RAW.makes)
    fractions = found.select(pl.col("^.*_fraction$")).to_numpy()
    assert ((fractions >= 0) & (fractions <= 1)).all()


@given(TEXTS, st.integers(1, 9))
def test_standardised_statistics_are_those_of_scikit_learn(texts: list[str], cut: int) -> None:
    extractor = TextStatistics(column="body")
    batches = [texts[start : start + cut] for start in range(0, len(texts), cut)]
    state = extractor.fit(extractor.merge([extractor.summarise(frame(batch)) for batch in batches]))
    raw = RAW.transform(frame(texts), {}).to_numpy()
    expected = StandardScaler().fit(raw)
    constant = expected.var_ < 1e-20
    found = extractor.transform(frame(texts), state).to_numpy()
    np.testing.assert_allclose(found[:, ~constant], expected.transform(raw)[:, ~constant], atol=1e-7)
    assert np.isfinite(found).all()


def test_a_statistic_that_never_varies_becomes_zero() -> None:
    extractor = TextStatistics(column="body")
    state = extractor.fit(extractor.summarise(frame(["ab cd", "ef gh"])))
    assert extractor.transform(frame(["ij kl"]), state).row(0) == (0.0,) * len(extractor.makes)
    assert math.isfinite(extractor.transform(frame(["a" * 100]), state)["body_characters"].item())


def test_lists_are_no_text() -> None:
    with pytest.raises(InvalidInputError, match="'body' holds List"):
        RAW.transform(pl.DataFrame({"body": [["a"]]}), {})
