"""What every backend promises.

A test file of a backend subclasses :class:`BackendContract` and supplies the fixture ``directory``, an empty folder on
the file system that the backend serves. What a store cannot do is said by the flags, not by skipping tests.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from airflow_dataflow.errors import BusyError, InvalidInputError, NotFoundError
from airflow_dataflow.storage.digest import Digest
from airflow_dataflow.storage.directory import Directory, HashingWriter

MIB = 1 << 20
LARGE = bytes(range(256)) * (4096 * 21)  # 21 MiB, several parts of an upload
ODD_NAMES = ["a b", "a%20b", "a#b", "a?b", "a*b", "a[0]b", "ä€😀", "a+b&c=d", "..a", "a\\b", "a'b\"c", ".hidden"]
ESCAPES = ["", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a\0b", "./", "a/../b"]


def digest(data: bytes) -> tuple[str, int]:
    """Return what ``Directory.digest`` says of a file with this content."""
    made = Digest()
    made.update(data)
    return str(made), len(data)


class BackendContract:
    """Tests that hold for any backend."""

    has_locks = True
    knows_free_bytes = True

    @pytest.fixture
    def directory(self) -> Directory:
        """Return an empty folder."""
        raise NotImplementedError

    # whole or absent --------------------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"x", b"x" * MIB, LARGE], ids=lambda data: f"{len(data)} bytes")
    def test_a_file_comes_back_as_it_was_written(self, directory: Directory, data: bytes) -> None:
        with directory.create("a/b.bin") as writer:
            write_in_pieces(writer, data)
        assert directory.digest("a/b.bin") == digest(data) == (writer.digest, writer.bytes_written)
        assert directory.files() == {"a/b.bin": len(data)}
        assert directory.size("a/b.bin") == len(data)

    @pytest.mark.parametrize("data", [b"new", LARGE], ids=["small", "large"])
    def test_a_file_is_not_there_until_its_block_ends(self, directory: Directory, data: bytes) -> None:
        with directory.create("a.bin") as writer:
            write_in_pieces(writer, data)
            assert not directory.exists("a.bin")
            assert directory.files() == {}
        assert directory.exists("a.bin")

    @pytest.mark.parametrize("data", [b"new", LARGE], ids=["small", "large"])
    def test_an_error_in_the_block_leaves_nothing(self, directory: Directory, data: bytes) -> None:
        with pytest.raises(ZeroDivisionError):
            write_and_fail(directory, "a.bin", data)
        assert directory.files() == {}
        assert directory.remove_unfinished(datetime.now(UTC) + timedelta(days=1)) == []

    @pytest.mark.parametrize("data", [b"new", LARGE], ids=["small", "large"])
    def test_an_error_in_the_block_leaves_the_old_file(self, directory: Directory, data: bytes) -> None:
        write(directory, "a.bin", b"old")
        with pytest.raises(ZeroDivisionError):
            write_and_fail(directory, "a.bin", data)
        assert directory.read("a.bin") == b"old"

    def test_a_file_is_replaced_as_a_whole(self, directory: Directory) -> None:
        write(directory, "a.bin", b"old and long")
        write(directory, "a.bin", b"new")
        assert directory.read("a.bin") == b"new"
        assert directory.files() == {"a.bin": 3}

    @pytest.mark.parametrize("data", [b"second", LARGE], ids=["small", "large"])
    def test_an_exclusive_file_never_replaces_another(self, directory: Directory, data: bytes) -> None:
        with directory.create("a.bin", exclusive=True) as writer:
            writer.write(b"first")
        with pytest.raises(FileExistsError), directory.create("a.bin", exclusive=True) as writer:
            write_in_pieces(writer, data)
        assert directory.read("a.bin") == b"first"
        assert directory.files() == {"a.bin": 5}
        assert directory.remove_unfinished(datetime.now(UTC) + timedelta(days=1)) == []

    def test_one_of_many_exclusive_writers_wins(self, directory: Directory) -> None:
        together = threading.Barrier(6)

        def attempt(number: int) -> int | None:
            try:
                with directory.create("a.bin", exclusive=True) as writer:
                    writer.write(str(number).encode())
                    together.wait(30)
            except FileExistsError:
                return None
            return number

        with ThreadPoolExecutor(6) as pool:
            winners = [number for number in pool.map(attempt, range(6)) if number is not None]
        assert [directory.read("a.bin")] == [str(number).encode() for number in winners]

    def test_files_are_written_by_several_threads_at_once(self, directory: Directory) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: write(directory, f"{number}.bin", bytes([number]) * MIB), range(8)))
        assert [directory.read(f"{number}.bin") for number in range(8)] == [bytes([n]) * MIB for n in range(8)]

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

    # single files -----------------------------------------------------------------------------

    def test_a_missing_file_is_named(self, directory: Directory) -> None:
        with pytest.raises(NotFoundError, match=r"no file 'a/x' in "):
            directory.read("a/x")
        assert directory.size("a/x") is None
        directory.remove("a/x")

    def test_a_file_is_removed(self, directory: Directory) -> None:
        write(directory, "a/x", b"x")
        write(directory, "a/y", b"y")
        directory.remove("a/x")
        assert list(directory.files()) == ["a/y"]

    def test_any_part_of_a_file_can_be_read(self, directory: Directory) -> None:
        write(directory, "a", LARGE)
        with directory.open("a") as file:
            file.seek(20 * MIB)
            assert file.read(10) == LARGE[20 * MIB : 20 * MIB + 10]
            file.seek(-3, os.SEEK_END)
            assert file.read() == LARGE[-3:]
            file.seek(5)
            assert file.read(3) == LARGE[5:8]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names_are_only_names(self, directory: Directory, name: str) -> None:
        write(directory, f"{name}/{name}.txt", name.encode())
        assert directory.files() == {f"{name}/{name}.txt": len(name.encode())}
        assert directory.folders() == [name]
        assert directory.child(name).read(f"{name}.txt") == name.encode()
        directory.copy(f"{name}/{name}.txt", directory, f"copy/{name}")
        assert directory.read(f"copy/{name}") == name.encode()
        directory.child(name).remove_all()
        assert list(directory.files()) == [f"copy/{name}"]

    @pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
    def test_a_copy_is_equal_and_outlives_the_original(self, directory: Directory, data: bytes) -> None:
        write(directory, "a", data)
        write(directory, "b/c", b"old")
        directory.copy("a", directory.child("b"), "c")
        directory.remove("a")
        assert directory.digest("b/c") == digest(data)

    def test_a_copy_of_nothing_leaves_nothing(self, directory: Directory) -> None:
        with pytest.raises(FileNotFoundError):
            directory.copy("a", directory, "b")
        assert directory.files() == {}

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

    def test_the_free_space_is_known_where_it_can_be(self, directory: Directory) -> None:
        free = directory.backend.free_bytes(directory.root)
        assert (free is not None and free > 0) is self.knows_free_bytes


def as_another_process_sees(directory: Directory) -> Directory:
    """Return the same folder through a file system of its own."""
    return Directory.from_url(directory.url, {**directory.fs.storage_options, "skip_instance_cache": True})


def write(directory: Directory, path: str, data: bytes) -> None:
    """Write a file."""
    with directory.create(path) as writer:
        write_in_pieces(writer, data)


def write_in_pieces(writer: HashingWriter, data: bytes) -> None:
    """Write as libraries do, a piece at a time, so that a large file goes out in parts."""
    for start in range(0, len(data), MIB):
        writer.write(data[start : start + MIB])


def write_and_fail(directory: Directory, path: str, data: bytes) -> None:
    """Write a file, and fail before its block ends."""
    with directory.create(path) as writer:
        write_in_pieces(writer, data)
        raise ZeroDivisionError
