"""Term frequency times inverse document frequency of hashed words: sparse vectors without a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import polars as pl
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from airflow_dataflow.features.extractor import State, text_of
from airflow_dataflow.features.vectors import sparse_vectors

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)

Integers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class HashedTfidf:
    r"""Make one sparse vector per document, in column ``<column>_hashed_tfidf``.

    Terms are the matches of ``\w+`` (Unicode, as Rust's ``regex`` defines it) in the lower-cased text. A term's place
    in the vector is the XXH3 hash (64 bits, seed 0) of its UTF-8 bytes modulo ``dimensions``. The hash of an n-gram is
    that of its first n - 1 words, ``h``, and its last word, ``w``: ``(h ^ (h >> 29)) * 0x9E3779B97F4A7C15 + w`` modulo
    2\ :sup:`64`. Neither depends on platform or version.

    The value is ``tf * idf`` with ``idf = ln((1 + n) / (1 + df)) + 1``, where ``n`` counts the training documents and
    ``df`` those with the term (scikit-learn's ``smooth_idf``); each vector is then scaled to length 1.
    """

    scheme: ClassVar[str] = "hashed_tfidf/1: xxh3_64 modulo dimensions"

    column: str
    """Text column; the recipe's ``text`` when absent."""
    dimensions: Annotated[int, Field(ge=1, le=1 << 24)] = 1 << 14
    """Length of the vectors. More means fewer collisions of terms, but a multinomial logistic regression holds
    ``dimensions`` times classes coefficients: the default of 16384 with 77 classes makes 10 MB, 262144 makes 160 MB."""
    ngram_max: Annotated[int, Field(ge=1, le=8)] = 1
    """Terms are sequences of 1 up to this many words."""
    sublinear: bool = False
    """Whether ``tf`` is ``1 + ln(count)`` instead of the count."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The text column."""
        return (self.column,)

    @property
    def makes(self) -> tuple[str, ...]:
        """The column of vectors."""
        return (f"{self.column}_hashed_tfidf",)

    def summarise(self, batch: pl.DataFrame) -> State:
        """Return the number of documents, and of those with each term that occurs."""
        _, terms, _ = self._counts(batch)
        return {"documents": np.array([batch.height]), **_occurring(np.bincount(terms))}

    def merge(self, summaries: Sequence[State]) -> State:
        """Add the numbers up."""
        joined = {key: np.concatenate([summary[key] for summary in summaries]) for key in summaries[0]}
        added = np.bincount(joined["terms"], weights=joined["frequency"]).astype(np.int64)
        return {"documents": joined["documents"].sum(keepdims=True), **_occurring(added)}

    def fit(self, summary: State) -> State:
        """Return the inverse document frequency of each term."""
        frequency = np.zeros(self.dimensions)
        frequency[summary["terms"]] = summary["frequency"]
        return {"idf": np.log((1 + summary["documents"]) / (1 + frequency)) + 1}

    def transform(self, batch: pl.DataFrame, state: State) -> pl.DataFrame:
        """Return the vectors."""
        documents, terms, counts = self._counts(batch)
        frequency = 1 + np.log(counts) if self.sublinear else counts
        values = frequency * state["idf"][terms]
        length = np.sqrt(np.bincount(documents, values**2, minlength=batch.height))
        offsets = np.searchsorted(documents, np.arange(batch.height + 1)).astype(np.int32)
        values /= length[documents]
        return sparse_vectors(self.makes[0], self.dimensions, offsets, terms.astype(np.int32), values).to_frame()

    def _counts(self, batch: pl.DataFrame) -> tuple[Integers, Integers, Integers]:
        """Return document, term and count of each term of each document, sorted by document and term."""
        hashes, documents = self._terms(text_of(batch, self.column))
        places = (hashes % np.uint64(self.dimensions)).astype(np.int64)
        keys, counts = _runs(np.sort(documents * self.dimensions + places))
        return *np.divmod(keys, self.dimensions), counts

    def _terms(self, text: pl.Series) -> tuple[Integers, Integers]:
        """Return the hash and the document of each word and n-gram, repetitions included."""
        words = text.str.to_lowercase().str.extract_all(r"\w+")
        owners = np.repeat(np.arange(len(text)), words.list.len().to_numpy())
        hashes = chained = _hash_words(words.explode().drop_nulls())
        terms, documents = [hashes], [owners]
        for size in range(2, self.ngram_max + 1):
            before = chained[:-1]
            chained = (before ^ (before >> _SHIFT)) * _MULTIPLIER + hashes[size - 1 :]
            inside = owners[: len(chained)] == owners[size - 1 :]
            terms.append(chained[inside])
            documents.append(owners[size - 1 :][inside])
        return np.concatenate(terms), np.concatenate(documents)


def _hash_words(words: pl.Series) -> Integers:
    """Hash each different word once: real text repeats its words."""
    encoded = pc.dictionary_encode(words.to_arrow(compat_level=pl.CompatLevel.oldest()))
    different = encoded.dictionary.to_pylist()
    hashes = np.fromiter((xxhash.xxh3_64_intdigest(word.encode()) for word in different), np.uint64, len(different))
    places: Integers = encoded.indices.to_numpy()
    return hashes[places]


def _occurring(frequency: Integers) -> State:
    terms = np.flatnonzero(frequency)
    return {"terms": terms, "frequency": frequency[terms]}


def _runs(keys: Integers) -> tuple[Integers, Integers]:
    """Return the different values of sorted ``keys``, and how often each occurs."""
    starts = np.flatnonzero(np.concatenate([[len(keys) > 0], keys[1:] != keys[:-1]]))
    return keys[starts], np.diff(starts, append=len(keys))
