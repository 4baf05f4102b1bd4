"""Folders: what a listing shows, what their removal takes, and that nothing leads out of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_dataflow.errors import BusyError, InvalidInputError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import as_another_process_sees, write

ESCAPES = ["", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a\0b", "./", "a/../b"]


class FolderContract:
    """Tests of folders."""

    has_locks = True
    """Whether the store can keep other processes out of a folder."""

    @pytest.fixture
    def directory(self) -> Directory:
        """Return an empty folder on the file system that the backend serves."""
        raise NotImplementedError

    # folders ----------------------------------------------------------------------------------

    def test_a_folder_that_is_absent_is_empty(self, directory: Directory) -> None:
        absent = directory.child("nothing/here")
        assert absent.files() == {}
        assert absent.folders() == []
        assert absent.changed_at() == datetime.min.replace(tzinfo=UTC)
        absent.remove_all()

    def test_files_are_listed_in_the_order_of_their_paths(self, directory: Directory) -> None:
        for path in ("b", "a/z", "a/b/c", "a.txt"):
            write(directory, path, path.encode())
        assert list(directory.files().items()) == [("a.txt", 5), ("a/b/c", 5), ("a/z", 3), ("b", 1)]
        assert directory.folders() == ["a"]
        assert directory.child("a").folders() == ["b"]

    def test_a_listing_shows_what_others_did_since_the_last_one(self, directory: Directory) -> None:
        other = as_another_process_sees(directory)
        write(directory, "a/one", b"1")
        assert list(other.files()) == ["a/one"]
        assert not other.exists("a/two")
        write(directory, "a/two", b"2")
        write(directory, "b/one", b"1")
        assert other.exists("a/two")
        assert list(other.files()) == ["a/one", "a/two", "b/one"]
        assert other.folders() == ["a", "b"]
        directory.child("a").remove_all()
        assert not other.exists("a/one")
        assert list(other.files()) == ["b/one"]

    def test_a_file_that_others_replaced_is_read_anew(self, directory: Directory) -> None:
        other = as_another_process_sees(directory)
        write(directory, "a", b"old")
        assert list(other.files().values()) == [3]
        assert other.read("a") == b"old"
        write(directory, "a", b"longer")
        assert other.read("a") == b"longer"
        assert other.size("a") == 6

    def test_a_folder_is_removed_and_its_neighbours_stay(self, directory: Directory) -> None:
        for path in ("a/x", "a/b/y", "ab/x", "a.txt"):
            write(directory, path, b"x")
        directory.child("a").remove_all()
        assert list(directory.files()) == ["a.txt", "ab/x"]
        directory.child("a").remove_all()

    def test_a_folder_whose_name_looks_like_a_pattern_is_only_itself(self, directory: Directory) -> None:
        write(directory, "[ab]/x", b"1")
        write(directory, "a/x", b"2")
        directory.child("[ab]").remove_all()
        assert directory.files() == {"a/x": 1}

    def test_a_folder_knows_when_it_last_changed(self, directory: Directory) -> None:
        write(directory, "a/x", b"x")
        age = datetime.now(UTC) - directory.changed_at()
        assert timedelta(seconds=-5) < age < timedelta(seconds=60)

    # limits -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("path", ESCAPES)
    def test_a_path_that_leaves_the_folder_is_refused(self, directory: Directory, path: str) -> None:
        inner = directory.child("inner")
        write(directory, "x", b"outside")
        for act in (inner.path, inner.child, inner.exists, inner.read, inner.remove, inner.digest):
            with pytest.raises(InvalidInputError, match="does not lie inside"):
                act(path)
        with pytest.raises(InvalidInputError, match="does not lie inside"), inner.create(path):
            pytest.fail("the block must not be entered")
        assert directory.files() == {"x": 7}

    def test_a_lock_keeps_others_away_until_its_block_ends(self, directory: Directory) -> None:
        folder = directory.child("version")
        with folder.lock() as sole:
            assert sole is self.has_locks
            if self.has_locks:
                with pytest.raises(BusyError, match="another process is writing version"), folder.lock():
                    pytest.fail("the block must not be entered")
        with folder.lock() as sole:
            assert sole is self.has_locks
        assert directory.files() == {}
