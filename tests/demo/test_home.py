"""The demo's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_dataflow.demo import home as home_module
from airflow_dataflow.demo.home import Home
from airflow_dataflow.errors import InvalidInputError


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    with pytest.raises(InvalidInputError, match="files that are not the demo's"), Home(tmp_path).in_use(clean=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_clean_start_keeps_the_secrets_and_nothing_of_the_last_demo(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        secrets = home.secrets()
        (home.landing / "old.csv").write_text("old")
        (home.folder / "catalog.db").write_text("old")
    with home.in_use(clean=True):
        assert home.secrets() == secrets
        assert not (home.landing / "old.csv").exists()
        assert not (home.folder / "catalog.db").exists()


def test_a_clean_start_removes_links_but_not_what_they_point_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data.csv").write_text("mine")
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        (home.folder / "link").symlink_to(elsewhere)
    with home.in_use(clean=True):
        assert not (home.folder / "link").is_symlink()
    assert (elsewhere / "data.csv").read_text() == "mine"


def test_a_reused_home_keeps_its_files(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        (home.landing / "old.csv").write_text("old")
    with home.in_use(clean=False):
        assert (home.landing / "old.csv").read_text() == "old"


def test_the_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        keys = home.secrets()
    assert (home.folder / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert len(keys["jwt"]) >= 64
    assert len(set(keys.values())) == len(keys)


def test_a_home_that_another_process_uses_is_refused_with_its_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "_LOCK_WAIT_SECONDS", 0.3)
    code = (
        "import sys; from pathlib import Path; from airflow_dataflow.demo.home import Home\n"
        "with Home(Path(sys.argv[1])).in_use(clean=True): print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InvalidInputError, match=f"process {other.pid} runs a demo"):  # noqa: SIM117
            with Home(tmp_path).in_use(clean=False):
                pass
    finally:
        other.communicate("")
    with Home(tmp_path).in_use(clean=False):
        assert (tmp_path / ".airflow-dataflow-demo").read_text() == f"{os.getpid()}\n"


def test_a_migrated_database_serves_the_next_clean_start_of_the_same_airflow(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        assert home.needs_migration("3.3.2")
        home.database.write_text("empty tables")
        home.keep_migrated_database("3.3.2")
        home.database.write_text("tables with runs")
        assert not home.needs_migration("3.3.2")
    with home.in_use(clean=True):
        assert not home.needs_migration("3.3.2")
        assert home.database.read_text() == "empty tables"
        assert home.needs_migration("3.4.0")


def test_a_database_with_runs_in_it_never_becomes_the_template(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        home.database.write_text("empty tables")
        home.keep_migrated_database("3.3.2")
        home.database.write_text("tables with runs")
        home.keep_migrated_database("3.4.0")
    with home.in_use(clean=True):
        assert home.needs_migration("3.4.0")
        assert not home.database.exists()


def test_what_became_of_own_files_survives_a_clean_start(tmp_path: Path) -> None:
    outer = Home(tmp_path / "home")
    inner = outer.for_own_files()
    with inner.in_use(clean=False):
        (inner.tiers / "model").write_text("mine")
        inner.database.write_text("empty tables")
        inner.keep_migrated_database("3.3.2")
    with outer.in_use(clean=True):
        assert not outer.needs_migration("3.3.2")
    assert (inner.tiers / "model").read_text() == "mine"


def test_a_folder_with_other_files_gets_no_home_for_own_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="files that are not the demo's"):
        Home(tmp_path).for_own_files()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_home_keeps_its_tiers(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.in_use(clean=True):
        assert home.tier_kind("hdfs") == "hdfs"
    with home.in_use(clean=False):
        assert home.tier_kind(None) == "hdfs"
        with pytest.raises(InvalidInputError, match=r"lie on the tiers 'hdfs', not 'local': leave --tiers out"):
            home.tier_kind("local")
    with home.in_use(clean=True):
        assert home.tier_kind(None) == "local"
