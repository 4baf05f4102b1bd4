"""Plain files are cleaned into a folder that appears whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from airflow_dataflow.cleaning.files import clean_files
from airflow_dataflow.datasets.manifest import MANIFEST_NAME, Manifest
from airflow_dataflow.errors import EmptySourceError, InvalidInputError, NotFoundError
from airflow_dataflow.recipe import load_recipe

RECIPE = load_recipe({"id": "id", "text": "body", "rules": ["not_null", "exact_duplicates", "mask_pii"]})
ROWS = pl.DataFrame({"id": [1, 2, 3], "body": ["one", "One ", "mail a@b.io"]})


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Return an empty landing folder."""
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parquet_is_cleaned_where_it_lies(landing: Path, tmp_path: Path) -> None:
    (landing / "deep").mkdir()
    ROWS.write_parquet(landing / "a.parquet")
    ROWS.with_columns(id=pl.col("id") + 10).write_parquet(landing / "deep" / "b.parquet")
    made = clean_files(str(landing), tmp_path / "out", RECIPE)
    assert sorted(files_in(tmp_path / "out")) == [
        "_manifest.json",
        "data/a.parquet",
        "quarantine/a.parquet",
        "quarantine/deep/b.parquet",
        "report.html",
        "signatures/exact_duplicates/a.parquet",
        "tallies.json",
    ]
    assert pl.read_parquet(tmp_path / "out/data/a.parquet").rows() == [(1, "one"), (3, "mail <EMAIL_ADDRESS>")]
    assert made == Manifest.from_bytes((tmp_path / "out" / MANIFEST_NAME).read_bytes(), "")
    assert (made.rows_in, made.rows_out, made.rows_quarantined) == (6, 2, 4)


@pytest.mark.parametrize("source", ["landing/a.parquet", "landing/*.parquet", "landing"])
def test_the_source_is_a_file_a_glob_or_a_folder(landing: Path, tmp_path: Path, source: str) -> None:
    ROWS.write_parquet(landing / "a.parquet")
    made = clean_files(str(tmp_path / source), tmp_path / "out", RECIPE)
    assert [entry.path for entry in made.files_under("data")] == ["data/a.parquet"]


def test_files_of_all_formats_meet_and_bad_ones_are_quarantined(landing: Path, tmp_path: Path) -> None:
    (landing / "a.csv").write_text("id,body\n1,first\n2,too,many,fields\n3,FIRST\n")
    (landing / "b.jsonl").write_text('{"id": 4, "body": "second"}\n{"id": 5, "bo\n')
    ROWS.head(1).write_parquet(landing / "c.parquet")
    (landing / "d.parquet").write_bytes((landing / "c.parquet").read_bytes()[:-9])
    made = clean_files(str(landing), tmp_path / "out", RECIPE)
    assert pl.read_parquet(tmp_path / "out/data/*.parquet")["body"].to_list() == ["first", "second", "one"]
    rejected = pl.read_parquet(tmp_path / "out/quarantine/*.parquet")
    assert rejected.columns == ["id", "body", "row_id", "rule", "reason", "value", "duplicate_of"]
    assert sorted(rejected.select("row_id", "rule", "reason", "value").rows()) == [
        ("3", "exact_duplicates", "exact_duplicate", None),
        ("a.csv:3", "ingest", "malformed_row", "2,too,many,fields"),
        ("b.jsonl:2", "ingest", "invalid_json", '{"id": 5, "bo'),
    ]
    assert (made.rows_in, made.rows_out, made.rows_quarantined) == (6, 3, 3)
    assert made.quarantined_by_reason == {"exact_duplicate": 1, "invalid_json": 1, "malformed_row": 1}
    refused = {source.path: source for source in made.sources if source.reason}
    assert list(refused) == ["d.parquet"]
    [copy] = refused["d.parquet"].outputs
    assert (tmp_path / "out" / copy).read_bytes() == (landing / "d.parquet").read_bytes()
    assert made.statistics["rules"][0]["rejected"] == {"invalid_json": 1, "malformed_row": 1}


def test_damage_inside_of_a_parquet_file_is_found_on_the_way(landing: Path, tmp_path: Path) -> None:
    ROWS.write_parquet(landing / "a.parquet")
    pl.DataFrame({"id": range(900), "body": [f"text {n}" * 20 for n in range(900)]}).write_parquet(
        landing / "b.parquet"
    )
    content = bytearray((landing / "b.parquet").read_bytes())
    content[50:600] = bytes(550)
    (landing / "b.parquet").write_bytes(content)
    made = clean_files(str(landing), tmp_path / "out", RECIPE)
    assert pl.read_parquet(tmp_path / "out/data/*.parquet")["id"].to_list() == [1, 3]
    assert [source.path for source in made.sources if source.reason] == ["b.parquet"]


def test_a_folder_with_a_version_is_cleaned_as_a_version(landing: Path, tmp_path: Path) -> None:
    ROWS.write_parquet(landing / "a.parquet")
    first = clean_files(str(landing), tmp_path / "first", RECIPE)
    second = clean_files(str(tmp_path / "first"), tmp_path / "second", load_recipe({"text": "body"}))
    assert second.parents == (first.reference,)
    assert second.rows_in == first.rows_out


def test_the_same_files_give_the_same_bytes(landing: Path, tmp_path: Path) -> None:
    (landing / "a.csv").write_text("id,body\n1,first\n2,second\n")
    for name in ("one", "two"):
        clean_files(str(landing), tmp_path / name, RECIPE)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    assert clean_files(str(landing), tmp_path / "one", RECIPE).rows_in == 2


def test_an_empty_folder_is_filled_and_anything_else_is_left_alone(landing: Path, tmp_path: Path) -> None:
    ROWS.write_parquet(landing / "a.parquet")
    (tmp_path / "empty").mkdir()
    clean_files(str(landing), tmp_path / "empty", RECIPE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("five years")
    (tmp_path / "file").write_text("a file")
    for target in ("mine", "file"):
        with pytest.raises(InvalidInputError, match="name a new folder, or remove it"):
            clean_files(str(landing), tmp_path / target, RECIPE)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "five years"
    with pytest.raises(InvalidInputError, match="is not empty"):
        clean_files(str(landing), tmp_path / "empty", load_recipe({"text": "body"}))


def test_an_error_leaves_nothing_behind(landing: Path, tmp_path: Path) -> None:
    pl.DataFrame({"id": [1], "body": [""]}).write_parquet(landing / "a.parquet")
    with pytest.raises(EmptySourceError, match=r"none of the 1 rows .* missing_body \(1\)"):
        clean_files(str(landing), tmp_path / "out", RECIPE)
    with pytest.raises(NotFoundError):
        clean_files(str(tmp_path / "nowhere"), tmp_path / "out", RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]
