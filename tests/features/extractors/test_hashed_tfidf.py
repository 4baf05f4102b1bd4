from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from airflow_dataflow.errors import InvalidInputError
from airflow_dataflow.features.extractor import State
from airflow_dataflow.features.extractors.hashed_tfidf import HashedTfidf

DOCUMENTS = [
    "The card was declined, the CARD!",
    "where is my card",
    "",
    "Überweisung: прошло 3 дня… 東京",
    "refund refund refund refund",
    "?!",
    "my card is where the refund is",
]
TEXTS = st.lists(st.text(alphabet=st.sampled_from("abAB é1_.,\n"), max_size=20), min_size=1, max_size=12)


def frame(documents: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"body": documents}, schema={"body": pl.String})


def fitted(extractor: HashedTfidf, documents: list[str]) -> State:
    return extractor.fit(extractor.merge([extractor.summarise(frame(documents))]))


def matrix(extractor: HashedTfidf, documents: list[str], state: State) -> csr_matrix:
    vectors = extractor.transform(frame(documents), state)["body_hashed_tfidf"].struct.unnest()
    offsets = np.concatenate([[0], np.cumsum(vectors["indices"].list.len())])
    indices, values = (vectors[name].explode().drop_nulls().to_numpy() for name in ("indices", "values"))
    return csr_matrix((values, indices, offsets), shape=(len(documents), extractor.dimensions))


def counted(document: str, dimensions: int, ngram_max: int) -> Counter[int]:
    """Count terms in the plainest way: one word at a time, with Python's own integers."""
    hashes = [xxhash.xxh3_64_intdigest(word.encode()) for word in re.findall(r"\w+", document.lower())]
    terms: list[int] = []
    for size in range(1, ngram_max + 1):
        for start in range(len(hashes) - size + 1):
            term = hashes[start]
            for word in hashes[start + 1 : start + size]:
                term = ((term ^ (term >> 29)) * 0x9E3779B97F4A7C15 + word) % 2**64
            terms.append(term)
    return Counter(term % dimensions for term in terms)


def plain_counts(documents: list[str], dimensions: int, ngram_max: int) -> csr_matrix:
    counts = csr_matrix((len(documents), dimensions)).tolil()
    for row, document in enumerate(documents):
        for term, count in counted(document, dimensions, ngram_max).items():
            counts[row, term] = count
    return counts.tocsr()


@pytest.mark.parametrize(("ngram_max", "sublinear"), list(itertools.product([1, 2, 3], [False, True])))
@pytest.mark.parametrize("dimensions", [1, 7, 16384, 1 << 22])
def test_values_are_those_of_scikit_learn_on_equal_counts(dimensions: int, ngram_max: int, sublinear: bool) -> None:
    extractor = HashedTfidf(column="body", dimensions=dimensions, ngram_max=ngram_max, sublinear=sublinear)
    reference = TfidfTransformer(norm="l2", smooth_idf=True, sublinear_tf=sublinear)
    training = DOCUMENTS[:5]
    reference.fit(plain_counts(training, dimensions, ngram_max))
    expected = reference.transform(plain_counts(DOCUMENTS, dimensions, ngram_max))
    found = matrix(extractor, DOCUMENTS, fitted(extractor, training))
    assert np.abs(found - expected).max() < 1e-15
    assert found.nnz == expected.nnz


def test_golden_vector() -> None:
    extractor = HashedTfidf(column="body", dimensions=1000)
    state = fitted(extractor, ["a b", "a c", "a"])
    places = {word: xxhash.xxh3_64_intdigest(word.encode()) % 1000 for word in "abc"}
    assert places == {"a": 0xE6C632B61E964E1F % 1000, "b": 615, "c": 11}
    vector = extractor.transform(frame(["B a b"]), state).item()
    rare, common = 2 * (math.log(4 / 2) + 1), math.log(4 / 4) + 1
    length = math.hypot(rare, common)
    assert vector == {
        "type": 0,
        "size": 1000,
        "indices": [615, 719],
        "values": pytest.approx([rare / length, common / length]),
    }


@given(TEXTS, st.integers(1, 50), st.integers(1, 4))
def test_every_vector_has_rising_indices_and_length_one_or_zero(texts: list[str], dimensions: int, ngrams: int) -> None:
    extractor = HashedTfidf(column="body", dimensions=dimensions, ngram_max=ngrams)
    vectors = extractor.transform(frame(texts), fitted(extractor, texts))["body_hashed_tfidf"].to_list()
    for text, vector in zip(texts, vectors, strict=True):
        assert vector["indices"] == sorted(counted(text, dimensions, ngrams))
        assert math.hypot(*vector["values"]) == pytest.approx(1.0 if vector["indices"] else 0.0)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_summaries_merge_to_the_summary_of_all_rows(batches: list[list[str]]) -> None:
    extractor = HashedTfidf(column="body", dimensions=11)
    parts = extractor.merge([extractor.summarise(frame(batch)) for batch in batches])
    whole = extractor.summarise(frame([text for batch in batches for text in batch]))
    assert {key: array.tolist() for key, array in parts.items()} == {
        key: array.tolist() for key, array in whole.items()
    }


@given(TEXTS)
def test_a_vector_does_not_depend_on_the_batch(texts: list[str]) -> None:
    extractor = HashedTfidf(column="body", dimensions=64, ngram_max=2)
    state = fitted(extractor, texts)
    together = extractor.transform(frame(texts), state)
    alone = pl.concat(extractor.transform(frame([text]), state) for text in texts)
    assert together.equals(alone)


def test_a_missing_text_is_an_empty_one() -> None:
    extractor = HashedTfidf(column="body", dimensions=8)
    state = fitted(extractor, ["word"])
    assert extractor.transform(frame([None]), state).equals(extractor.transform(frame([""]), state))
    unknown = pl.DataFrame({"body": [None, None]})
    assert extractor.transform(unknown, state).height == 2


def test_no_rows_have_no_vectors() -> None:
    extractor = HashedTfidf(column="body", ngram_max=3)
    state = fitted(extractor, ["word"])
    empty = extractor.transform(frame([]), state)
    assert empty.schema == extractor.transform(frame(["word"]), state).schema
    assert empty.height == 0


def test_numbers_are_no_text() -> None:
    with pytest.raises(InvalidInputError, match="'body' holds Int64, not text"):
        HashedTfidf(column="body").summarise(pl.DataFrame({"body": [1]}))
