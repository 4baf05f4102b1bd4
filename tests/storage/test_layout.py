"""Folders whose files lie in packs: read as if they were plain, by ranges, damaged, and beside plain files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dataflow.errors import CorruptDataError, SourceChangedError, UnsupportedError
from airflow_dataflow.progress import no_progress
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.layout import LAYOUT_NAME, PACKS_FOLDER, Layout, is_packable
from airflow_dataflow.transfer.journal import NoJournal
from airflow_dataflow.transfer.limits import Control
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.pack import pack_files
from airflow_dataflow.transfer.packing_plan import Packable
from airflow_dataflow.transfer.report import Tally

FILES = {"a": b"1234", "b/c.txt": b"line\n" * 300_000, "b/empty": b"", "d" * 200 + "/ä 日本": b"x" * 70_000}


def packed(folder: Path, files: dict[str, bytes], **options: Any) -> Directory:
    """Write files to ``folder/plain`` and, packed, to ``folder/packed``, and return the latter."""
    source, target = Directory.from_url(str(folder / "plain")), Directory.from_url(str(folder / "packed"))
    for path, data in files.items():
        with source.create(path) as writer:
            writer.write(data)
    listing = source.listing()
    chosen = [
        Packable(path=path, bytes=len(files[path]), source_path=path, stamp=listing[path].stamp) for path in files
    ]
    how = TransferOptions(**({"compress": 3} | options))
    tally = Tally("pack", 0, no_progress)
    pack_files(source, chosen, target, options=how, journal=NoJournal(), control=Control(), tally=tally)
    return Directory.from_url(str(folder / "packed"))


@pytest.fixture
def folder(tmp_path: Path) -> Directory:
    return packed(tmp_path, FILES)


def test_files_in_packs_look_like_others(folder: Directory) -> None:
    assert folder.files() == {path: len(FILES[path]) for path in sorted(FILES)}
    assert {path: folder.read(path) for path in FILES} == FILES
    assert [folder.size(path) for path in FILES] == [len(data) for data in FILES.values()]
    assert not folder.exists("b/nothing")
    assert folder.digest("b/c.txt") == Directory.from_url(folder.root.replace("packed", "plain")).digest("b/c.txt")
    with folder.open("b/c.txt") as file:
        assert file.readline() == b"line\n"
        assert file.seek(-5, 2) == len(FILES["b/c.txt"]) - 5
        assert file.read() == b"line\n"
    assert pickle.loads(pickle.dumps(folder)).read("a") == b"1234"


def test_a_folder_below_one_with_packs_has_its_files_too(folder: Directory) -> None:
    assert folder.child("b").files() == {"c.txt": 1_500_000, "empty": 0}
    assert folder.child("b").read("c.txt") == FILES["b/c.txt"]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ranges_are_those_of_the_file(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    files = data.draw(
        st.dictionaries(
            st.text("abc/ä.", min_size=1, max_size=12).filter(_is_plain_path), st.binary(max_size=3000), max_size=6
        ).filter(_no_file_is_a_folder)
    )
    folder = packed(tmp_path_factory.mktemp("tree"), files)
    assert folder.files() == {path: len(files[path]) for path in sorted(files)}
    for path, content in files.items():
        start, length = data.draw(st.integers(0, 3100)), data.draw(st.integers(0, 3100))
        assert folder.read_range(path, start, length, pin=folder.stamp(path)) == content[start : start + length]


def _is_plain_path(path: str) -> bool:
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _no_file_is_a_folder(files: dict[str, bytes]) -> bool:
    return not any(other.startswith(f"{path}/") for path in files for other in files)


def test_a_parquet_file_is_read_from_its_end(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(200_000)), "text": [f"row {number}" for number in range(200_000)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=20_000)
    folder = packed(tmp_path, {"before": b"x" * 999, "x.parquet": (tmp_path / "x.parquet").read_bytes()})
    with folder.open("x.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(7, ["n"])["n"][0].as_py() == 140_000


def test_spark_is_told_that_it_cannot_read_packs(folder: Directory) -> None:
    with pytest.raises(UnsupportedError, match="copy the version to another tier first"):
        folder.hand_out("a", expected_bytes=4)


def test_a_plain_file_counts_in_place_of_a_packed_one(folder: Directory) -> None:
    assert folder.read("a") == b"1234"
    folder.put("a", b"new")
    again = Directory.from_url(folder.root)
    assert folder.read("a") == again.read("a") == b"new"
    assert again.files()["a"] == folder.files()["a"] == 3


def test_a_removed_file_is_gone_and_the_others_stay(folder: Directory) -> None:
    folder.remove("b/c.txt")
    for place in (folder, Directory.from_url(folder.root)):
        assert not place.exists("b/c.txt")
        assert place.files().keys() == FILES.keys() - {"b/c.txt"}
        assert place.read("a") == b"1234"


def test_a_packed_file_is_copied_inside_a_store(folder: Directory, tmp_path: Path) -> None:
    other = Directory.from_url(str(tmp_path / "other"))
    assert not folder.share("a", other, "a")
    folder.copy("a", other, "a")
    assert other.read("a") == b"1234"


def test_a_pin_of_packed_bytes_holds_them(folder: Directory) -> None:
    with pytest.raises(SourceChangedError, match="packed anew"):
        folder.read_range("a", 0, 1, pin="packed:another")
    folder.check_pin("a", folder.stamp("a"))


@pytest.mark.parametrize("what", ["gone", "short", "flipped"])
def test_a_damaged_pack_is_named(folder: Directory, what: str) -> None:
    (pack,) = [path for path in Path(folder.root, PACKS_FOLDER).iterdir() if path.name.startswith("000001")]
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    {"gone": pack.unlink, "short": lambda: pack.write_bytes(data[:20]), "flipped": lambda: pack.write_bytes(data)}[
        what
    ]()
    with pytest.raises(CorruptDataError, match=r"000001-.*restore what it holds"):
        folder.read("b/c.txt")


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"files": [["../x", 0, 1]]},
        {"files": [["/etc/x", 0, 1]]},
        {"files": [["_manifest.json", 0, 1]]},
        {"files": [["a", 0, 10**9]]},
        {"files": [["a", -1, 1]]},
        {"files": [["a", 0, 1], ["a", 1, 1]]},
        {"surprise": 1},
    ],
)
def test_a_layout_that_is_none_is_refused(folder: Directory, change: dict[str, Any]) -> None:
    import json

    path = Path(folder.root, LAYOUT_NAME)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for act in (folder.files, lambda: folder.read("b/c.txt")):
        with pytest.raises(CorruptDataError, match="is not a layout"):
            act()


def test_packs_never_lead_out_of_their_folder(folder: Directory) -> None:
    layout = Layout.from_bytes(Path(folder.root, LAYOUT_NAME).read_bytes(), "here")
    changed = layout.to_bytes().replace(layout.packs[0].path.encode(), b"../../000001-0123456789abcdef.pack")
    with pytest.raises(CorruptDataError, match="is not a layout"):
        Layout.from_bytes(changed, "here")
    assert not any(map(is_packable, ["../a", "/a", "_packs/x", "_layout.json", "_manifest.json", "a\0", "\udcff"]))
