"""Nights: what is read, what is taken over, what is refused."""

from __future__ import annotations

import gzip
import itertools
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.manifest import Manifest, Rows
from airflow_dataflow.errors import (
    CorruptDataError,
    EmptySourceError,
    InvalidInputError,
    NotFoundError,
    TransientError,
    is_terminal,
)
from airflow_dataflow.ingest.files import ingest_files
from airflow_dataflow.ingest.ingest import ingest
from airflow_dataflow.ingest.landing import Landing, LandingFile, Place
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.store import Store
from airflow_dataflow.storage.tier import Tier
from tests.ingest.lab import MOMENT, Lab, reasons, sources
from tests.killing import killed_at

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)


# the first night ------------------------------------------------------------------------------


def test_the_same_rows_in_three_formats_get_one_schema(lab: Lab) -> None:
    moment = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    row = {"id": 7, "price": 1.5, "paid": True, "at": moment, "note": "hello"}
    lab.land("a.csv", "id,price,paid,at,note\n7,1.5,true,2026-11-01T08:30:00Z,hello\n")
    lab.land("b.jsonl", '{"id": 7, "price": 1.5, "paid": true, "at": "2026-11-01T09:30:00+01:00", "note": "hello"}\n')
    lab.land("c.parquet", pa.Table.from_pylist([row]))
    manifest = lab.night()
    assert lab.rows(manifest) == [row] * 3
    assert {str(table.schema) for table in lab.tables(manifest)} == {
        "id: int64\nprice: double\npaid: bool\nat: timestamp[us, tz=UTC]\nnote: string"
    }
    assert manifest.columns == {
        "id": "int64",
        "price": "double",
        "paid": "bool",
        "at": "timestamp[us, tz=UTC]",
        "note": "string",
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.csv": "x,y\n1,\n", "b.csv": "x,y\n2.5,\n"}, [1.0, 2.5]),
        ({"a.csv": "x,y\n1,\n", "b.csv": "x,y\ntwo,\n"}, ["1", "two"]),
        ({"a.csv": "x,y\n1,\n", "b.jsonl": '{"x": "2"}\n'}, ["1", "2"]),
        ({"a.jsonl": '{"x": 1}\n', "b.jsonl": '{"x": true}\n'}, ["1", "true"]),
        ({"a.jsonl": '{"x": 1.0}\n', "b.jsonl": '{"x": "a"}\n'}, ["1.0", "a"]),
        ({"a.jsonl": '{"x": [1, 2]}\n', "b.jsonl": '{"x": "a"}\n'}, ["[1,2]", "a"]),
        ({"a.csv": "x,y\n9007199254740993,\n", "b.csv": "x,y\n0.5,\n"}, ["9007199254740993", "0.5"]),
        ({"a.csv": "x,y\n007,\n", "b.csv": "x,y\n7,\n"}, ["007", "7"]),
        ({"a.csv": "x,y\n,1\n", "b.csv": "x,y\n2026-11-01,1\n"}, [None, date(2026, 11, 1)]),
        ({"a.csv": "x,y\n2026-11-01,1\n", "b.csv": "x,y\n2026-11-01 10:00,1\n"}, ["2026-11-01", "2026-11-01 10:00"]),
    ],
)
def test_files_of_one_night_agree_on_a_type_that_changes_no_value(
    lab: Lab, files: dict[str, str], expected: list[Any]
) -> None:
    for name, content in files.items():
        lab.land(name, content)
    assert [row["x"] for row in lab.rows(lab.night())] == expected


def test_every_row_is_kept_or_quarantined_with_its_reason(lab: Lab) -> None:
    lab.land("a.csv", b"id,text\n1,one\n2\n3,three,more\n4,\xff\n5,five\n")
    lab.land("b.jsonl", b'{"id": 6}\n[1]\n{"id": \n{"id": 9, "text": "\xfe"}\n')
    manifest = lab.night()
    assert (manifest.rows_in, manifest.rows_out, manifest.rows_quarantined) == (9, 3, 6)
    assert manifest.quarantined_by_reason == {
        "invalid_json": 1,
        "invalid_utf8": 2,
        "malformed_row": 2,
        "not_an_object": 1,
    }
    assert [row["id"] for row in lab.rows(manifest)] == [1, 5, 6]
    assert [(row_id, reason, raw) for row_id, reason, _, raw in lab.quarantine(manifest)] == [
        ("a.csv:3", "malformed_row", "2"),
        ("a.csv:4", "malformed_row", "3,three,more"),
        ("a.csv:5", "invalid_utf8", "4,\\xff"),
        ("b.jsonl:2", "not_an_object", "[1]"),
        ("b.jsonl:3", "invalid_json", '{"id": '),
        ("b.jsonl:4", "invalid_utf8", '{"id": 9, "text": "\\xfe"}'),
    ]


def test_bad_files_are_kept_with_their_reason_and_good_ones_processed(lab: Lab) -> None:
    whole = lab.land("whole.parquet", pa.table({"id": [1, 2]})).read_bytes()
    bad = {
        "cut.parquet": (whole[:-20], "no valid Parquet file"),
        "cut.csv.gz": (gzip.compress(b"id\n1\n" * 1000, mtime=0)[:-9], "truncated or damaged gzip data"),
        "empty.jsonl": (b"", "zero bytes"),
        "image.csv": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary data"),
        "open.csv": (b'id,text\n1,"never closed\n2,b\n', "never closed"),
        "twice.csv": (b"id,id\n1,2\n", "'id' occurs 2 times"),
        "unnamed.csv": (b",id\n0,1\n", "column 1 of 2 has no name"),
        "array.jsonl": (b'[{"id": 1},\n {"id": 2}]\n', "JSON array"),
    }
    for name, (content, _) in bad.items():
        lab.land(name, content)
    manifest = lab.night()
    assert [row["id"] for row in lab.rows(manifest)] == [1, 2]
    found = reasons(manifest)
    assert found.pop("whole.parquet") is None
    assert {name for name, (_, reason) in bad.items() if reason not in str(found[name])} == set()
    folder = lab.store.directory(manifest)
    for one in manifest.sources:
        if one.reason:
            [copy] = one.outputs
            assert folder.read(copy) == bad[one.path][0]
            assert copy.startswith("quarantine/files/")
            assert copy.endswith(one.path)


def test_a_file_that_may_not_be_read_is_named_and_read_once_it_may(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.land("a.csv", "id,x\n1,2\n")
    secret = lab.land("secret.csv", "id,x\n3,4\n")
    original = Path.open

    def deny(self: Path, *args: Any, **options: Any) -> Any:
        if self == secret:
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", deny)
        first = lab.night(1)
        assert "may not be read" in str(reasons(first)["secret.csv"])
        assert lab.night(2) == first
    second = lab.night(3)
    assert reasons(second) == {"a.csv": None, "secret.csv": None}
    assert second.rows_out == 2


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [
        ({"a.csv": b"", "b.parquet": b"PAR1"}, CorruptDataError, ["a.csv: it has zero bytes", "b.parquet: no valid"]),
        ({"a.csv": b"x,y\n"}, EmptySourceError, ["they hold no rows", "a.csv"]),
        ({"a.csv": b"x,y\n1\n2\n"}, EmptySourceError, ["all 2 rows are bad (2 malformed_row)", "a.csv"]),
        ({"readme.txt": b"hello", "_x.csv": b"a\n1\n"}, EmptySourceError, ["2 files were ignored", ".parquet"]),
    ],
)
def test_a_source_without_a_good_row_fails_at_once_and_leaves_nothing(
    lab: Lab, files: dict[str, bytes], error: type[Exception], said: list[str]
) -> None:
    for name, content in files.items():
        lab.land(name, content)
    with pytest.raises(error) as caught:
        lab.night()
    assert is_terminal(caught.value)
    assert all(text in str(caught.value) for text in [*said, str(lab.landing)])
    assert lab.store.catalog.manifests("raw") == []
    assert not [path for path in (lab.landing.parent / "hot").rglob("*") if path.suffix == ".parquet"]


def test_a_header_without_rows_is_no_reason_to_fail(lab: Lab) -> None:
    lab.land("a.csv", "id,late\n")
    lab.land("b.csv", "id\n1\n")
    manifest = lab.night()
    assert sources(manifest) == {"a.csv": (0, 0, False), "b.csv": (1, 1, False)}
    assert lab.rows(manifest) == [{"id": 1, "late": None}]


@pytest.mark.parametrize("source", ["nowhere", "landing/*.csv", "landing"])
def test_a_source_with_nothing_there_is_named(lab: Lab, source: str) -> None:
    path = str(lab.landing.parent / source)
    with pytest.raises((NotFoundError, EmptySourceError), match=r"nowhere|landing"):
        lab.night(source=path)


def test_a_glob_and_a_single_file_are_sources_too(lab: Lab) -> None:
    lab.land("2026/a.csv", "x,y\n1,2\n")
    lab.land("2027/a.csv", "x,y\n3,4\n")
    lab.land("2027/b.jsonl", '{"x": 5}\n')
    assert list(sources(lab.night(source=f"{lab.landing}/*/*.csv"))) == ["2026/a.csv", "2027/a.csv"]
    single = ingest(lab.store, (lab.landing / "2027/b.jsonl").as_uri(), "single", at=FIRST)
    assert list(sources(single)) == ["b.jsonl"]


def test_one_file_of_an_unknown_format_is_refused_with_the_known_ones(lab: Lab) -> None:
    path = lab.land("a.xlsx", "x")
    with pytest.raises(InvalidInputError, match=r"a\.xlsx is no file of a known format: \.csv"):
        lab.night(source=str(path))


def test_a_dataset_of_another_stage_is_not_written_to(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    with lab.store.draft("raw", at=FIRST, fingerprint="0" * 64) as draft:
        made = draft.commit(Rows())
    with pytest.raises(InvalidInputError, match=f"{made.reference} was not made by ingest"):
        lab.night(2)


def test_wrong_parameters_of_readers_come_with_a_hint(lab: Lab) -> None:
    lab.land("a.csv", "x\n1\n")
    with pytest.raises(InvalidInputError, match="did you mean 'csv'"):
        lab.night(readers={"cvs": {}})
    with pytest.raises(InvalidInputError, match="did you mean 'delimiter'"):
        lab.night(readers={"csv": {"delimeter": ";"}})


# types that bind ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "later", "kept", "rejected"),
    [
        ("1", "2.5", [], "x=2.5 is no int64"),
        ("1", "2.0", [2], None),
        ("1", "007", [], "x=007 is no int64"),
        ("1.5", "2", [2.0], None),
        ("1.5", "9007199254740993", [], "x=9007199254740993 is no double"),
        ("true", "yes", [], "x=yes is no bool"),
        ("2026-11-01", "2026-02-30", [], "x=2026-02-30 is no date32[day]"),
        ("2026-11-01 10:00:00", "2026-11-02T10:00:00.5", [datetime.fromisoformat("2026-11-02T10:00:00.5")], None),
        ("2026-11-01 10:00:00", "2026-11-02T10:00:00Z", [], "x=2026-11-02T10:00:00Z is no timestamp[us]"),
        ("word", "7", ["7"], None),
        ("1", "", [None], None),
    ],
)
def test_types_of_the_night_before_bind(
    lab: Lab, first: str, later: str, kept: list[Any], rejected: str | None
) -> None:
    lab.land("a.csv", f"x,y\n{first},1\n")
    before = lab.night(1)
    lab.land("b.csv", f"x,y\n{later},1\n")
    manifest = lab.night(2)
    assert manifest.columns == before.columns
    assert [row["x"] for row in lab.rows(manifest)][1:] == kept
    raw = f'{{"x":"{later}","y":"1"}}'
    expected = [("b.csv:2", "type_mismatch", rejected, raw)] if rejected else []
    assert lab.quarantine(manifest) == expected


def test_numbers_of_json_fit_the_text_of_the_night_before_and_nested_values_their_struct(lab: Lab) -> None:
    lab.land("a.jsonl", '{"x": "a", "s": {"n": 1}, "l": [1.5]}\n')
    lab.night(1)
    lab.land("b.jsonl", '{"x": 5, "s": {}, "l": [2]}\n{"x": 6, "s": {"m": 1}, "l": []}\n{"x": 7, "s": [], "l": 3}\n')
    manifest = lab.night(2)
    assert lab.rows(manifest)[1:] == [{"x": "5", "s": {"n": None}, "l": [2.0]}]
    assert [(row_id, reason) for row_id, reason, _, _ in lab.quarantine(manifest)] == [
        ("b.jsonl:2", "type_mismatch"),
        ("b.jsonl:3", "type_mismatch"),
    ]


def test_new_columns_are_added_and_missing_ones_filled(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    lab.night(1)
    lab.land("b.csv", "z,x\n2.5,3\n")
    second = lab.night(2)
    assert second.columns == {"x": "int64", "y": "int64", "z": "double"}
    assert lab.rows(second) == [{"x": 1, "y": 2, "z": None}, {"x": 3, "y": None, "z": 2.5}]
    lab.land("c.csv", "x,z\n4,word\n")
    assert lab.night(3).columns == second.columns


def test_types_bind_when_every_file_is_replaced(lab: Lab) -> None:
    lab.land("export.csv", "x,y\n1,2\n")
    lab.night(1)
    lab.land("export.csv", "x,y\n3,4\nfour,5\n", moment=MOMENT + 60)
    second = lab.night(2)
    assert lab.rows(second) == [{"x": 3, "y": 4}]
    assert second.quarantined_by_reason == {"type_mismatch": 1}


# safety ---------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_left_to_a_retry(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lab.land("a.csv", "x,y\n1,2\n")
    original = Landing.check_unchanged

    def grow(self: Landing, file: LandingFile) -> None:
        with path.open("a") as more:
            more.write("3,4\n")
        original(self, file)

    with monkeypatch.context() as patch:
        patch.setattr(Landing, "check_unchanged", grow)
        with pytest.raises(TransientError, match="changed while it was being read"):
            lab.night()
    assert lab.night().rows_out == 2


@pytest.mark.parametrize("moment", ["fetch", "check_unchanged"])
def test_a_file_that_disappears_is_left_to_a_retry(lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    path = lab.land("b.csv", "x,y\n3,4\n")
    original = getattr(Landing, moment)

    def lose(self: Landing, file: LandingFile, *args: Any) -> Any:
        path.unlink(missing_ok=True)
        return original(self, file, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Landing, moment, lose)
        with pytest.raises(TransientError, match=r"b\.csv (has gone|disappeared)"):
            lab.night()
    assert lab.night().rows_out == 1


def make_mess(lab: Lab) -> None:
    lab.land("a.csv", b"id,text,x\n1,one,\n2\n4,\xff,\n5,five,2.5\n")
    lab.land("b.jsonl", b'{"id": 6, "tags": ["a"]}\n[1]\n{"id": "seven"}\n')
    lab.land("c.parquet", pa.table({"id": [1, 2], "text": pa.array(["x", "y"]).dictionary_encode()}))
    lab.land("cut.csv.gz", gzip.compress(b"id\n1\n" * 1000, mtime=0)[:-9])


def test_two_stores_get_the_same_bytes_from_the_same_files(lab: Lab, tmp_path: Path) -> None:
    make_mess(lab)
    other = Lab(
        Store([Tier(name="hot", tier_class="hot", url=str(tmp_path / "two"))], Catalog("sqlite://")), lab.landing
    )
    content = lab.content(lab.night(1))
    assert len(content) == 7
    assert other.content(other.night(1)) == content
    lab.land("d.csv", "id,text\n9,nine\n")
    assert lab.content(lab.night(2)) == other.content(other.night(2))


def one_night(root: Path) -> None:
    """Ingest ``root/landing`` into a store in ``root``."""
    store = Store([Tier(name="hot", tier_class="hot", url=str(root / "hot"))], Catalog(f"sqlite:///{root}/catalog.db"))
    ingest(store, str(root / "landing"), "raw", at=FIRST)


def test_a_killed_night_tried_again_gives_the_same_bytes_and_one_version(lab: Lab, tmp_path: Path) -> None:
    make_mess(lab)
    expected = lab.content(lab.night(1))
    for step in itertools.count(5, 40):
        root = tmp_path / f"killed-{step}"
        root.mkdir()
        (root / "landing").symlink_to(lab.landing)
        killed = killed_at(step, one_night, root)
        one_night(root)
        again = Lab(
            Store([Tier(name="hot", tier_class="hot", url=str(root / "hot"))], Catalog(f"sqlite:///{root}/catalog.db")),
            lab.landing,
        )
        [manifest] = again.store.catalog.manifests("raw")
        assert again.content(manifest) == expected
        if not killed:
            break
    assert step > 40


def test_progress_is_told_in_bytes_read_and_rows_written(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n" + "1,2\n" * 1000)
    lab.land("b.csv", "x,y\n3,4\n")
    told: dict[str, list[tuple[int, int, str]]] = {}
    ingest(
        lab.store,
        str(lab.landing),
        "raw",
        at=FIRST,
        progress=lambda what, done, total, unit: told.setdefault(what, []).append((done, total, unit)),
    )
    assert told["reading"][-1] == (4012, 4012, "bytes")
    assert told["reading"] == sorted(told["reading"])
    assert told["writing"] == [(1000, 1001, "rows"), (1001, 1001, "rows")]


def test_plain_files_become_tables_in_any_folder(lab: Lab, tmp_path: Path) -> None:
    lab.land("a.csv", "x,y\n1,2\nbad\n")
    lab.land("b.jsonl", '{"x": 3}\n')
    output = Directory.from_url(str(tmp_path / "output"))
    written = ingest_files(str(lab.landing), output)
    assert (written.rows.rows_in, written.rows.rows_out) == (3, 2)
    assert written.rows.quarantined_by_reason == {"malformed_row": 1}
    assert [one.path for one in written.sources] == ["a.csv", "b.jsonl"]
    assert [pq.read_table(output.path(one.outputs[0])).num_rows for one in written.sources] == [1, 1]
    assert sorted(output.files()) == sorted(path for one in written.sources for path in one.outputs)


@pytest.mark.s3
def test_a_bucket_is_a_landing_folder(lab: Lab, bucket: str, s3_options: dict[str, Any], reads: list[str]) -> None:
    landing = Directory.from_url(f"s3://{bucket}/landing", s3_options)

    def night(day: int) -> Manifest:
        at = datetime(2026, 11, day, tzinfo=UTC)
        return ingest(lab.store, Place(f"s3://{bucket}/landing", s3_options), "raw", at=at)

    with pytest.raises(EmptySourceError, match="no file lies there"):
        night(1)
    for name, content in {"a.csv.gz": gzip.compress(b"x,y\n1,2\n"), "bad.parquet": b"PAR1", "_x.csv": b"x"}.items():
        landing.fs.pipe_file(landing.path(name), content)
    first = night(1)
    assert sources(first) == {"a.csv.gz": (1, 1, False), "bad.parquet": (0, 0, False)}
    assert lab.content(first)["quarantine/files/" + first.files[-1].path.split("/", 2)[2]] == b"PAR1"
    reads.clear()
    assert night(2) == first
    landing.fs.pipe_file(landing.path("b.jsonl"), b'{"x": 3}\n')
    assert [row["x"] for row in lab.rows(night(3))] == [1, 3]
    assert reads == ["b.jsonl"]
