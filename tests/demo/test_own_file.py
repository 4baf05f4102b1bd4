"""A person's own file is checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.demo.options import DemoOptions
from airflow_dataflow.demo.own_file import check_own_file, dataset_name, read_columns
from airflow_dataflow.errors import InvalidInputError, MissingColumnError, NotFoundError
from airflow_dataflow.recipe import load_recipe


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "my train set.csv"
    path.write_text("text,category\nhello there,greeting\nbye,farewell\n")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,category\nhello,1\n"),
        ("semicolons.csv", b"text;category\nhello;1\n"),
        ("bom.csv", "\ufefftext,category\nhello,1\n".encode()),
        ("a.tsv", b"text\tcategory\nhello\t1\n"),
        ("a.jsonl", b'{"text": "hello", "category": 1}\n'),
        ("broken-line.jsonl", b'{"text": \n{"text": "hello", "category": 1}\n'),
    ],
)
def test_columns_are_read_whatever_the_format(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_columns(path) == ["text", "category"]


def test_columns_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["hello"], "category": [1]}), path)
    assert read_columns(path) == ["text", "category"]


def test_a_misspelt_column_is_refused_with_the_closest_one(csv_file: Path) -> None:
    with pytest.raises(MissingColumnError, match=r"my train set\.csv has no label column 'categry'; did you mean 'cat"):
        check_own_file(DemoOptions(input=csv_file, text="text", label="categry"))


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file '.*nothing\.csv'"):
        check_own_file(DemoOptions(input=tmp_path / "nothing.csv", text="a", label="b"))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is a folder: name one file"):
        check_own_file(DemoOptions(input=tmp_path, text="a", label="b"))


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "letters.docx"
    path.write_bytes(b"PK")
    with pytest.raises(InvalidInputError, match=r"'letters\.docx' is of no format.*\.csv, \.jsonl"):
        check_own_file(DemoOptions(input=path, text="a", label="b"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    with pytest.raises(ValueError, match="there is no header line"):
        check_own_file(DemoOptions(input=path, text="a", label="b"))


def test_the_same_column_for_text_and_label_is_refused(csv_file: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot predict a column from itself"):
        check_own_file(DemoOptions(input=csv_file, text="text", label="text"))


def test_a_file_without_its_columns_named_is_refused(csv_file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"which column of my train set\.csv is the label\? Add --label COLUMN"):
        DemoOptions(input=csv_file, text="text")


def test_columns_without_a_file_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="--text names a column of your own file: add --input FILE"):
        DemoOptions(text="text")


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("train.csv", "train"),
        ("My Train Set (v2).csv.gz", "my-train-set-v2"),
        ("Überblick.csv", "berblick"),
        ("数据.jsonl", "own-file"),
        (".hidden.csv", "hidden"),
        ("2024_q1.parquet", "2024_q1"),
    ],
)
def test_a_dataset_is_named_after_the_file(name: str, dataset: str) -> None:
    assert dataset_name(Path("/data") / name) == dataset


def test_the_same_file_lands_in_the_same_dataset_and_a_namesake_in_another(csv_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / csv_file.name
    other.parent.mkdir()
    other.write_text("text,category\nhello,other\n")
    landing = tmp_path / "landing"

    def land(path: Path) -> tuple[str, Path]:
        return check_own_file(DemoOptions(input=path, text="text", label="category")).land(landing)

    assert land(csv_file) == ("my-train-set", landing / "my-train-set")
    assert land(other) == ("my-train-set-2", landing / "my-train-set-2")
    assert land(csv_file) == ("my-train-set", landing / "my-train-set")
    assert (landing / "my-train-set" / csv_file.name).read_bytes() == csv_file.read_bytes()


def test_the_recipe_is_valid_and_names_the_columns(csv_file: Path) -> None:
    recipe = load_recipe(check_own_file(DemoOptions(input=csv_file, text="text", label="category")).recipe)
    assert (recipe.id, recipe.text, recipe.label) == (None, "text", "category")
    assert [rule.name for rule in recipe.rules] == ["not_null", "mask_pii", "text_length", "exact_duplicates"]
