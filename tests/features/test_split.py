from __future__ import annotations

import random
from collections import Counter

import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from airflow_dataflow.features.split import SIDES, row_keys, split_of
from airflow_dataflow.recipe import Split, load_recipe

KEYS = [f"message-{number}" for number in range(10_000)]


@st.composite
def splits(draw: st.DrawFn) -> Split:
    first, second = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return Split(train=first, validation=second - first, test=1 - second, salt=draw(st.text(max_size=5)))


def sides_of(keys: list[str], split: Split) -> dict[str, str]:
    return dict(zip(keys, split_of(pl.Series(keys, dtype=pl.String), split), strict=True))


@pytest.mark.parametrize(
    ("key", "salt", "side"),
    [
        ("a", "", "train"),
        ("m1", "", "validation"),
        ("m7", "", "test"),
        ("ключ", "", "train"),
        ("ключ", "s", "validation"),
    ],
)
def test_sides_stay_the_same_in_every_release(key: str, salt: str, side: str) -> None:
    assert sides_of([key], Split(salt=salt)) == {key: side}


def test_a_side_is_the_place_of_the_hash_between_the_shares() -> None:
    split = Split(train=0.5, validation=0.3, test=0.2, salt="s")
    for key, side in sides_of(KEYS[:500], split).items():
        place = (xxhash.xxh3_64_intdigest(b"s\0" + key.encode()) >> 11) / 2**53
        assert side == ("train" if place < 0.5 else "validation" if place < 0.8 else "test")


@given(st.lists(st.text(), max_size=50), splits(), st.randoms(use_true_random=False))
def test_sides_do_not_depend_on_order_or_company(keys: list[str], split: Split, order: random.Random) -> None:
    together = sides_of(keys, split)
    order.shuffle(keys)
    assert sides_of(keys, split) == together
    assert all(sides_of([key], split) == {key: together[key]} for key in keys)


def test_shares_come_out_within_a_percent() -> None:
    counts = Counter(sides_of(KEYS, Split(train=0.7, validation=0.2, test=0.1)).values())
    assert [counts[side] / len(KEYS) for side in SIDES] == pytest.approx([0.7, 0.2, 0.1], abs=0.01)


@pytest.mark.parametrize("side", SIDES)
def test_one_side_can_have_everything(side: str) -> None:
    split = Split.model_validate({name: float(name == side) for name in SIDES})
    assert set(sides_of(KEYS[:1000], split).values()) == {side}


def test_another_salt_is_another_split() -> None:
    assert sides_of(KEYS[:100], Split(salt="a")) != sides_of(KEYS[:100], Split(salt="b"))


def test_no_keys_have_no_sides() -> None:
    assert split_of(pl.Series([], dtype=pl.String), Split()).to_list() == []


ROWS = pl.DataFrame(
    {"id": ["a", "b", None, " "], "body": ["x", "x", "y", None], "label": [1, 2, 1, 2], "words": [["x"]] * 4}
)


@pytest.mark.parametrize(
    ("recipe", "keys"),
    [
        ({"id": "id", "text": "body", "label": "label"}, ["a", "b", "y", "\0"]),
        ({"text": "body", "label": "label"}, ["x", "x", "y", "\0"]),
        ({"label": "label"}, ["x\x1fa\x1f1", "x\x1fb\x1f2", "y\x1f\0\x1f1", "\0\x1f \x1f2"]),
    ],
)
def test_a_row_is_known_by_its_id_then_its_text_then_its_values(recipe: dict[str, str], keys: list[str]) -> None:
    assert row_keys(ROWS, load_recipe(recipe)).to_list() == keys


def test_an_id_is_the_same_whether_a_file_has_whole_numbers_or_floats() -> None:
    recipe = load_recipe({"id": "n", "text": "t"})
    whole, floats = (
        pl.DataFrame({"n": [1, 2], "t": ["", ""]}, schema_overrides={"n": kind}) for kind in (pl.Int64, pl.Float64)
    )
    assert row_keys(whole, recipe).to_list() == row_keys(floats, recipe).to_list() == ["1", "2"]
