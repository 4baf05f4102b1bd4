"""Later nights: what is read, what is taken over, what is replaced."""

from __future__ import annotations

import gzip

import pytest

from airflow_dataflow.ingest.landing import LocalFile
from tests.ingest.lab import MOMENT, Lab, reasons, sources


def test_a_second_night_reads_only_the_new_file(lab: Lab, reads: list[str]) -> None:
    lab.land("a.csv", "id,text\n1,one\n2\n")
    first = lab.night(1)
    lab.land("b.csv", "id,text\n3,three\n")
    reads.clear()
    second = lab.night(2)
    assert reads == ["b.csv"]
    assert sources(second) == {"a.csv": (2, 1, True), "b.csv": (1, 1, False)}
    assert second.sources[0].carried_from == first.version
    assert (second.rows_in, second.rows_out, second.quarantined_by_reason) == (3, 2, {"malformed_row": 1})
    assert [row["id"] for row in lab.rows(second)] == [1, 3]
    assert lab.quarantine(second)[0][0] == "a.csv:3"


def test_a_file_with_an_unchanged_stamp_is_not_even_digested(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    first = lab.night(1)
    digested: list[str] = []
    monkeypatch.setattr(LocalFile, "digest", lambda self: digested.append(self.name) or "")
    assert lab.night(2) == first
    assert digested == []


def test_nothing_new_makes_no_version(lab: Lab, reads: list[str]) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    lab.land("bad.parquet", b"PAR1")
    first = lab.night(1)
    reads.clear()
    lab.land("a.csv", "x,y\n1,2\n", moment=MOMENT + 60)
    assert lab.night(2) == first
    lab.land("copy/a.csv", "x,y\n1,2\n")
    assert lab.night(3) == first
    assert reads == []
    assert len(lab.store.catalog.manifests("raw")) == 1


def test_an_emptied_landing_zone_keeps_the_rows_of_earlier_nights(lab: Lab) -> None:
    first_file = lab.land("a.csv", "x,y\n1,2\n")
    first = lab.night(1)
    first_file.unlink()
    assert lab.night(2) == first
    lab.land("b.csv", "x,y\n3,4\n")
    assert [row["x"] for row in lab.rows(lab.night(3))] == [1, 3]


def test_rows_of_files_that_are_gone_can_be_dropped(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n1,2\nbad\n")
    lab.land("b.csv", "x,y\n3,4\n")
    lab.night(1)
    (lab.landing / "a.csv").unlink()
    second = lab.night(2, missing="drop")
    assert sources(second) == {"b.csv": (1, 1, True)}
    assert second.quarantined_by_reason == {}


def test_a_changed_file_replaces_its_old_rows(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    lab.land("b.csv", "x,y\n3,4\n")
    lab.night(1)
    lab.land("a.csv", "x,y\n5,6\n", moment=MOMENT + 60)
    second = lab.night(2)
    assert sources(second) == {"b.csv": (1, 1, True), "a.csv": (1, 1, False)}
    assert [row["x"] for row in lab.rows(second)] == [3, 5]


def test_a_broken_delivery_does_not_replace_good_rows_and_a_repaired_one_does(lab: Lab) -> None:
    lab.land("a.csv.gz", gzip.compress(b"x,y\n1,2\n"))
    lab.night(1)
    lab.land("a.csv.gz", gzip.compress(b"x,y\n3,4\n")[:-5], moment=MOMENT + 60)
    second = lab.night(2)
    assert [row["x"] for row in lab.rows(second)] == [1]
    assert [bool(one.reason) for one in second.sources] == [False, True]
    lab.land("a.csv.gz", gzip.compress(b"x,y\n3,4\n"), moment=MOMENT + 120)
    third = lab.night(3)
    assert [row["x"] for row in lab.rows(third)] == [3]
    assert reasons(third) == {"a.csv.gz": None}


def test_a_renamed_file_is_not_read_again_and_its_old_name_is_free(lab: Lab, reads: list[str]) -> None:
    path = lab.land("a.csv", "x,y\n1,2\n")
    lab.land("z.csv", "x,y\n9,9\n")
    lab.night(1)
    path.rename(lab.landing / "b.csv")
    lab.land("a.csv", "x,y\n3,4\n", moment=MOMENT + 60)
    reads.clear()
    second = lab.night(2, missing="drop")
    assert reads == ["a.csv"]
    assert sources(second) == {"b.csv": (1, 1, True), "z.csv": (1, 1, True), "a.csv": (1, 1, False)}


def test_a_file_that_goes_back_and_forth_makes_a_version_each_time(lab: Lab) -> None:
    versions = []
    for day in range(1, 7):
        lab.land("a.csv", f"x,y\n{day % 2},2\n", moment=MOMENT + day)
        versions.append(lab.night(day))
        assert lab.store.manifest("raw@latest") == versions[-1]
        assert [row["x"] for row in lab.rows(versions[-1])] == [day % 2]
        assert lab.night(day + 10) == versions[-1]
    assert len({manifest.version for manifest in versions}) == 6


def test_the_same_bytes_under_a_better_suffix_are_read(lab: Lab) -> None:
    path = lab.land("a.parquet", '{"x": 1}\n')
    lab.land("b.csv", "x,y\n2,3\n")
    assert reasons(lab.night(1))["a.parquet"]
    path.rename(lab.landing / "a.jsonl")
    second = lab.night(2, missing="drop")
    assert reasons(second) == {"b.csv": None, "a.jsonl": None}
    assert [row["x"] for row in lab.rows(second)] == [2, 1]


def test_equal_files_bring_their_rows_once(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n1,2\n")
    lab.land("b/a.csv", "x,y\n1,2\n")
    first = lab.night(1)
    assert reasons(first) == {"a.csv": None, "b/a.csv": "duplicate_file"}
    assert sources(first)["b/a.csv"] == (0, 0, False)
    lab.land("c.csv", "x,y\n3,4\n")
    second = lab.night(2)
    assert reasons(second) == {"a.csv": None, "b/a.csv": "duplicate_file", "c.csv": None}
    assert [row["x"] for row in lab.rows(second)] == [1, 3]


def test_rows_of_earlier_nights_come_first_whatever_the_files_are_called(lab: Lab) -> None:
    for day, name in enumerate(["z.csv", "m.csv", "a.csv"], 1):
        lab.land(name, f"x,y\n{day},0\n")
        manifest = lab.night(day)
    assert [row["x"] for row in lab.rows(manifest)] == [1, 2, 3]


def test_files_of_one_name_in_several_formats_and_folders_have_outputs_of_their_own(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n1,0\n")
    lab.land("a.jsonl", '{"x": 2}\n')
    lab.land("sub dir/ä.csv", "x,y\n3,0\n")
    lab.land("sub dir-/ö.csv", "x,y\n4,0\n")
    outputs = [output for one in lab.night().sources for output in one.outputs]
    assert len(set(outputs)) == len(outputs) == 4
    assert all(output.isascii() and " " not in output for output in outputs)


def test_other_parameters_of_a_reader_read_what_is_there_again(lab: Lab) -> None:
    lab.land("a.csv", "x,y\n'1;2',3\n")
    gone = lab.land("b.csv", "x,y\n4,5\n")
    assert lab.rows(lab.night(1))[0] == {"x": "'1;2'", "y": 3}
    gone.unlink()
    second = lab.night(2, readers={"csv": {"quote": "'"}})
    assert [row["x"] for row in lab.rows(second)] == ["4", "1;2"]
    assert sources(second) == {"b.csv": (1, 1, True), "a.csv": (1, 1, False)}
