"""The engine of one machine keeps the promises of :mod:`airflow_dataflow.engines.engine`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dataflow.engines.engine import FILE, ORDER, ROW, SUMMARY, Engine, TableFile
from airflow_dataflow.engines.local import LocalEngine
from airflow_dataflow.errors import CorruptDataError, InvalidInputError, NotFoundError
from airflow_dataflow.storage.directory import Directory

Table = Callable[..., TableFile]
BATCH_BYTES = [1, 40, 1 << 20]


@pytest.fixture(params=BATCH_BYTES, ids=lambda size: f"batches of {size} bytes")
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return the engine, with batches of one row, some rows, or all."""
    return LocalEngine(batch_bytes=request.param)


def test_rows_come_in_the_order_of_files_and_rows(engine: Engine, table: Table) -> None:
    files = [table("b", {"x": [3, 1]}), table("a", {"x": [2]})]
    assert engine.scan(files).collect().rows() == [(3, 0, 0), (1, 0, 1), (2, 1, 0)]


def test_a_batch_holds_rows_of_one_file_and_kernels_may_drop_some(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": [1, 2, 3]}), table("b", {"x": [4, 5]})]
    numbers: list[set[int]] = []

    def odd(rows: pl.DataFrame) -> pl.DataFrame:
        numbers.append(set(rows[FILE]))
        return rows.filter(pl.col("x") % 2 == 1)

    frame = engine.scan(files).map_batches(odd).map_batches(lambda rows: rows.select(pl.col("x") * 10, *ORDER))
    assert frame.collect().rows() == [(10, 0, 0), (30, 0, 2), (50, 1, 1)]
    assert all(len(files_of_batch) == 1 for files_of_batch in numbers)


def test_columns_that_a_file_lacks_are_null_and_types_widen(engine: Engine, table: Table) -> None:
    files = [
        table("a", {"x": [1], "only_a": ["a"], "mixed": [1], "empty": [None]}),
        table("b", {"x": [1.5], "only_b": [[1, 2]], "mixed": ["one"], "empty": [True]}),
    ]
    rows = engine.scan(files).collect().drop(ORDER)
    assert rows.to_dict(as_series=False) == {
        "x": [1.0, 1.5],
        "only_a": ["a", None],
        "mixed": ["1", "one"],
        "empty": [None, True],
        "only_b": [None, [1, 2]],
    }
    assert rows.columns == engine.schema(files).names


def test_a_scan_reads_the_columns_it_is_asked_for(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": [1], "y": [2], "a.b": ["dot"]})]
    rows = engine.scan(files, columns=["a.b", "nowhere", "x", "x"]).collect()
    assert rows.columns == ["a.b", "nowhere", "x", FILE, ROW]
    assert rows.drop(ORDER).rows() == [("dot", None, 1)]
    assert engine.scan(files, columns=["nowhere"]).collect().drop(ORDER).rows() == [(None,)]


def test_no_rows_and_no_files_still_have_columns(engine: Engine, table: Table) -> None:
    empty = table("empty", pl.DataFrame({"x": []}, schema={"x": pl.Int64}))
    frame = engine.scan([empty]).map_batches(lambda rows: rows.with_columns(y=pl.col("x") * 2.0))
    assert frame.collect().schema == {"x": pl.Int64, FILE: pl.UInt32, ROW: pl.UInt32, "y": pl.Float64}
    assert engine.scan([], columns=["x"]).collect().columns == ["x", FILE, ROW]
    assert engine.scan([empty]).quantiles(["x"], [0.5]) == {"x": None}


def test_rows_join_by_their_place(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": [1, 2, 3]}), table("b", {"x": [4, 5]})]
    right = pl.DataFrame(
        {FILE: [1, 0, 0], ROW: [1, 2, 0], "why": ["v", "iii", "i"]}, {FILE: pl.UInt32, ROW: pl.UInt32, "why": pl.String}
    )
    frame = engine.scan(files)
    assert frame.join(right, how="left").collect()["why"].to_list() == ["i", None, "iii", None, "v"]
    assert frame.join(right, how="inner").collect()["why"].to_list() == ["i", "iii", "v"]
    assert frame.join(right.select(ORDER), how="semi").collect()["x"].to_list() == [1, 3, 5]
    assert frame.join(right, how="anti").collect()["x"].to_list() == [2, 4]
    assert frame.join(right.clear(), how="left").collect()["why"].to_list() == [None] * 5


def test_rows_join_by_any_column_and_stay_in_order(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": [3, 1, 2, 1]})]
    right = pl.DataFrame({"x": [1, 3], "name": ["one", "three"]})
    rows = engine.scan(files).join(right, on=["x"], how="inner").collect()
    assert rows["name"].to_list() == ["three", "one", "one"]


def test_a_join_finds_rows_that_an_earlier_kernel_left(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": list(range(20))})]
    right = pl.DataFrame({FILE: [0] * 3, ROW: [1, 10, 19]}, {FILE: pl.UInt32, ROW: pl.UInt32})
    frame = engine.scan(files).map_batches(lambda rows: rows.filter(pl.col("x") >= 10))
    assert frame.join(right, how="semi").collect()["x"].to_list() == [10, 19]


def test_quantiles_leave_out_what_is_no_finite_number(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": [4.0, None, math.nan], "n": [None, None, None]}), table("b", {"x": [1.0, math.inf, 2.0]})]
    files_as_float = engine.scan(files, columns=["x", "n"])
    assert files_as_float.quantiles(["x", "n"], [0, 0.25, 0.5, 1]) == {"x": [1.0, 1.5, 2.0, 4.0], "n": None}


@settings(deadline=None)
@given(
    values=st.lists(st.floats(-1e300, 1e300, allow_subnormal=False), min_size=1, max_size=40),
    fraction=st.one_of(st.floats(0, 1), st.sampled_from([0.25, 0.5, 0.75])),
)
def test_quantiles_are_those_of_numpy(values: list[float], fraction: float) -> None:
    with stored({"x": values}) as files:
        [found] = LocalEngine(batch_bytes=1).scan(files).quantiles(["x"], [fraction])["x"] or []
    expected = np.quantile(values, fraction, method="linear")
    assert found == pytest.approx(expected, rel=1e-9, abs=max(1e-9 * max(map(abs, values)), 1e-300))
    assert min(values) <= found <= max(values)


def test_the_quantile_of_a_constant_is_that_constant(engine: Engine, table: Table) -> None:
    files = [table("a", {"x": [0.1] * 7})]
    assert engine.scan(files).quantiles(["x"], [0.3, 0.77]) == {"x": [0.1, 0.1]}


def test_repeats_are_found_with_what_they_repeat(engine: Engine, table: Table) -> None:
    files = [
        table("a", {"key": ["x", "y", "x", None], "id": ["1", "2", "3", "4"]}),
        table("b", {"key": [None, "y", "z", "x"], "id": ["5", "6", "7", "8"]}),
    ]
    repeats = engine.scan(files).first_by("key")
    assert repeats.rows() == [(0, 2, "1"), (1, 1, "2"), (1, 3, "1")]
    assert repeats.columns == [FILE, ROW, "first_id"]


def test_rows_of_before_come_first_whatever_their_place(engine: Engine, table: Table) -> None:
    before = engine.scan([table("old", {"key": ["other", "x", "x"], "id": ["o", "p", "q"]})])
    frame = engine.scan([table("new", {"key": ["x", "y", "y"], "id": ["1", "2", "3"]})])
    assert frame.first_by("key", before=before).rows() == [(0, 0, "p"), (0, 2, "2")]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=6), min_size=1, max_size=3))
def test_what_is_no_repeat_is_every_key_once(keys: list[list[str | None]]) -> None:
    with stored(*({"key": pl.Series(part, dtype=pl.String)} for part in keys)) as files:
        frame = LocalEngine(batch_bytes=1).scan(files)
        repeats = frame.first_by("key")
        firsts = frame.join(repeats.select(ORDER), how="anti").collect()["key"].to_list()
    flat = [key for part in keys for key in part]
    assert [key for key in firsts if key is not None] == list(dict.fromkeys(key for key in flat if key is not None))
    assert firsts.count(None) == flat.count(None)


def test_a_write_makes_one_file_for_each_input_and_folder_with_rows(
    engine: Engine, table: Table, folder: Directory
) -> None:
    files = [table("a", {"x": [1, 2, 3]}), table("deep/b", {"x": [4]}), table("c", pl.DataFrame({"x": [0]}).clear())]

    def split(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        odd = pl.col("x") % 2 == 1
        count = pl.DataFrame({FILE: rows[FILE].head(1), "count": [len(rows)]})
        return {"odd": rows.filter(odd), "even/half": rows.filter(~odd), SUMMARY: count}

    out = folder.child("out")
    counts = engine.scan(files).write(split, out.create)
    assert list(out.files()) == ["even/half/a.parquet", "even/half/deep/b.parquet", "odd/a.parquet"]
    assert pq.read_table(out.path("odd/a.parquet")).to_pydict() == {"x": [1, 3]}
    assert counts.group_by(FILE).agg(pl.col("count").sum()).sort(FILE).rows() == [(0, 3), (1, 1)]


def test_a_write_without_rows_makes_nothing(engine: Engine, table: Table, folder: Directory) -> None:
    empty = table("empty", pl.DataFrame({"x": [1]}).clear())
    assert engine.scan([empty]).write(lambda rows: {"data": rows}, folder.create).is_empty()
    assert list(folder.files()) == ["empty.parquet"]


def test_equal_input_gives_equal_bytes(table: Table, folder: Directory) -> None:
    files = [table("a", {"x": list(range(1000)), "text": ["zebra"] * 1000})]
    for name in ("one", "two"):
        LocalEngine().scan(files).write(lambda rows, name=name: {name: rows}, folder.create)
    assert folder.read("one/a.parquet") == folder.read("two/a.parquet")


def test_a_kept_frame_is_computed_once(engine: Engine, table: Table) -> None:
    calls = []

    def count(rows: pl.DataFrame) -> pl.DataFrame:
        calls.append(len(rows))
        return rows

    kept = engine.scan([table("a", {"x": [1, 2, 3]})]).map_batches(count).persist()
    before = len(calls)
    assert kept.map_batches(lambda rows: rows.filter(pl.col("x") > 1)).collect()["x"].to_list() == [2, 3]
    assert kept.collect()["x"].to_list() == [1, 2, 3]
    assert len(calls) == before


def test_an_error_in_the_middle_leaves_no_file(table: Table, folder: Directory) -> None:
    def fail(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        if rows[ROW][0] > 0:
            raise ValueError("half way")
        return {"data": rows}

    frame = LocalEngine(batch_bytes=1).scan([table("a", {"x": [1, 2]})])
    with pytest.raises(ValueError, match="half way"):
        frame.write(fail, folder.create)
    assert list(folder.files()) == ["a.parquet"]


@pytest.mark.parametrize("cut", [0, 3, 200, -10])
def test_a_truncated_file_is_named(engine: Engine, table: Table, folder: Directory, cut: int) -> None:
    file = table("a", {"x": list(range(500))})
    content = folder.read("a.parquet")[:cut]
    Path(folder.path("a.parquet")).write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"a\.parquet is no whole Parquet file"):
        engine.scan([file]).collect()


def test_damaged_pages_are_an_error_of_the_data(engine: Engine, table: Table, folder: Directory) -> None:
    file = table("a", {"x": [str(number) * 30 for number in range(500)]})
    content = bytearray(folder.read("a.parquet"))
    content[40:400] = bytes(360)
    Path(folder.path("a.parquet")).write_bytes(bytes(content))
    with pytest.raises(CorruptDataError, match=r"a\.parquet"):
        engine.scan([file]).collect()


def test_a_missing_file_is_named(engine: Engine, folder: Directory) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.parquet"):
        engine.scan([TableFile(directory=folder, path="gone.parquet", stem="gone")])


def test_reserved_names_are_refused(engine: Engine, table: Table) -> None:
    with pytest.raises(InvalidInputError, match="'__row' has a reserved name"):
        engine.scan([table("a", {ROW: [1]})])


def test_progress_says_how_far_the_files_are(table: Table) -> None:
    said: list[tuple[str, int, int, str]] = []
    engine = LocalEngine(batch_bytes=1, progress=lambda *report: said.append(report))
    engine.scan([table("a", {"x": [1, 2]}), table("b", {"x": [3]})], what="reading").collect()
    assert said == [("reading", done, 3, "rows") for done in (1, 2, 3)]


@contextmanager
def stored(*tables: dict[str, object]) -> Iterator[list[TableFile]]:
    """Store tables for the length of a block; each example of a property test needs its own folder."""
    with TemporaryDirectory(prefix="engine-") as name:
        for number, table in enumerate(tables):
            pl.DataFrame(table).write_parquet(f"{name}/{number}.parquet")
        directory = Directory.from_url(name)
        numbers = range(len(tables))
        yield [TableFile(directory=directory, path=f"{number}.parquet", stem=str(number)) for number in numbers]
