"""Who has the journal of a transfer in the catalog, when processes die, here or on another machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_dataflow.datasets.catalog.catalog import Catalog
from airflow_dataflow.datasets.catalog.transfers import TransferRows
from airflow_dataflow.errors import BusyError
from airflow_dataflow.transfer import catalog_journal
from airflow_dataflow.transfer.catalog_journal import CatalogJournal
from airflow_dataflow.transfer.identity import transfer_id, without_password
from airflow_dataflow.transfer.journal import FileProgress
from airflow_dataflow.transfer.limits import Control, StoppedError
from airflow_dataflow.transfer.options import TransferOptions
from airflow_dataflow.transfer.owner import is_gone, new_owner

ELSEWHERE = "another-machine/1:42:7:abc"
BEGUN = FileProgress(source_stamp="s", bytes=2, part_bytes=1, handle="h", parts={0: ("token", "digest")})


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(f"sqlite:///{tmp_path}/catalog.db")


@pytest.fixture
def rows(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> TransferRows:
    """Return the rows of a catalog in which another machine is at work; its silence counts after half a second."""
    monkeypatch.setattr(catalog_journal, "_SILENT_SECONDS", 0.5)
    monkeypatch.setattr(catalog_journal, "_LOOK_SECONDS", 0.05)
    rows = TransferRows(catalog.database)
    assert rows.claim("a", "/to", ELSEWHERE, seen=None)
    return rows


def test_what_a_silent_process_of_another_machine_held_is_taken_over(catalog: Catalog, rows: TransferRows) -> None:
    with CatalogJournal(catalog, "a", "/to") as journal:
        journal.save({"big": BEGUN})
        assert not rows.touch("a", ELSEWHERE)


def test_a_process_of_another_machine_that_gives_a_sign_is_left_alone(catalog: Catalog, rows: TransferRows) -> None:
    def alive(seconds: float) -> None:
        time.sleep(seconds)
        assert rows.touch("a", ELSEWHERE)

    with pytest.raises(BusyError, match="another process is at work"), CatalogJournal(catalog, "a", "/to", sleep=alive):
        pass


@pytest.mark.usefixtures("rows")
def test_a_stop_ends_the_wait_for_another_machine(catalog: Catalog) -> None:
    control = Control()
    control.stop()
    journal = CatalogJournal(catalog, "a", "/to", sleep=control.sleep)
    with pytest.raises(StoppedError), journal:
        pass


def test_a_process_whose_transfer_was_taken_over_notices_it_and_writes_nothing(catalog: Catalog) -> None:
    rows = TransferRows(catalog.database)
    with CatalogJournal(catalog, "a", "/to") as journal:
        assert rows.claim("a", "/to", ELSEWHERE, seen=rows.find("a"))
        with pytest.raises(BusyError, match="has taken over the transfer to /to"):
            journal.save({"big": BEGUN})
    found = rows.find("a")
    assert found is not None
    assert (found.owner, rows.read("a")) == (ELSEWHERE, [])


def test_a_process_says_that_it_is_alive_although_it_saves_nothing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_journal, "_ALIVE_SECONDS", 0.01)
    rows = TransferRows(catalog.database)
    with CatalogJournal(catalog, "a", "/to"):
        first = rows.find("a")
        deadline = time.monotonic() + 30
        while rows.find("a") == first:
            assert time.monotonic() < deadline


# owners ---------------------------------------------------------------------------------------


def test_a_process_is_gone_when_it_has_ended_even_if_its_number_is_used_again() -> None:
    mine = new_owner()
    assert mine != new_owner()
    assert is_gone(mine) is False
    machine, _, start, token = mine.split(":")
    assert is_gone(":".join((machine, str(os.getpid()), "1", token))) is True
    code = "from airflow_dataflow.transfer.owner import new_owner; print(new_owner())"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert is_gone(ended) is True
    assert start != "-"


@pytest.mark.parametrize("owner", [ELSEWHERE, "", "-:1:1:x", "nonsense"])
def test_of_another_machine_and_of_nonsense_nobody_can_know(owner: str) -> None:
    assert is_gone(owner) is None


# ids ------------------------------------------------------------------------------------------


def test_attempts_at_the_same_transfer_have_one_id_whatever_may_change_between_them() -> None:
    first = transfer_id(["/a"], "s3://bucket/to", TransferOptions())
    assert first == transfer_id(["/a"], "s3://bucket/to", TransferOptions(verify="full", bytes_per_second=1))
    others = [
        transfer_id(["/a", "/b"], "s3://bucket/to", TransferOptions()),
        transfer_id(["/a"], "s3://bucket/to/", TransferOptions()),
        transfer_id(["/a"], "s3://bucket/to", TransferOptions(pack=True)),
        transfer_id(["/a"], "s3://bucket/to", TransferOptions(compress=3)),
    ]
    assert len({first, *others}) == 5
    assert {len(one) for one in (first, *others)} == {32}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/a@b:c", "s3://bucket/a@b:c"),
        ("ftp://user:p@ss@host/x", "ftp://host/x"),
        ("s3://aws_default@bucket/x", "s3://aws_default@bucket/x"),
        ("/data/a:b@c", "/data/a:b@c"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
    ],
)
def test_no_password_is_written_down(url: str, shown: str) -> None:
    assert without_password(url) == shown
