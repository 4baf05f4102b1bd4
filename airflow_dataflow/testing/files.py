"""Files: whole or absent, read in any part, copied, and under any name."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import LARGE, MIB, digest, write, write_and_fail, write_in_pieces

ODD_NAMES = ["a b", "a%20b", "a#b", "a?b", "a*b", "a[0]b", "ä€😀", "a+b&c=d", "..a", "a\\b", "a'b\"c", ".hidden"]


class FileContract:
    """Tests of single files."""

    @pytest.fixture
    def directory(self) -> Directory:
        """Return an empty folder on the file system that the backend serves."""
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

    def test_an_exclusive_file_is_written_where_none_is(self, directory: Directory) -> None:
        for name, data in (("small", b"x"), ("large", LARGE)):
            with directory.create(name, exclusive=True) as writer:
                write_in_pieces(writer, data)
            assert directory.digest(name) == digest(data)

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

    def test_a_file_that_is_done_is_forgotten(self, directory: Directory) -> None:
        write(directory, "a.bin", b"new")
        with pytest.raises(ZeroDivisionError):
            write_and_fail(directory, "b.bin", b"new")
        assert len(directory.fs.transaction.files) == 0, "what was written stays in memory as long as the process"

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

    def test_names_that_look_alike_are_different_files(self, directory: Directory) -> None:
        composed, decomposed = "caf\u00e9.csv", "cafe\u0301.csv"
        for name in (composed, decomposed, "CAF\u00c9.csv"):
            write(directory, name, ascii(name).encode())
        assert directory.read(composed) == ascii(composed).encode()
        assert directory.read(decomposed) == ascii(decomposed).encode()
        assert sorted(directory.files()) == sorted([composed, decomposed, "CAF\u00c9.csv"])
        directory.remove(decomposed)
        assert directory.exists(composed)
        assert not directory.exists(decomposed)

    @pytest.mark.parametrize("name", ["a//b", "a/./b", "a/b/", "./a/b"])
    def test_no_file_takes_the_place_of_one_of_another_name(self, directory: Directory, name: str) -> None:
        write(directory, "a/b", b"first")
        write(directory, "x", b"other")
        with suppress(InvalidInputError):
            write(directory, name, b"second")
            assert directory.read(name) == b"second"
        with suppress(InvalidInputError):
            directory.copy("x", directory, name)
            assert directory.read(name) == b"other"
        assert directory.read("a/b") == b"first"

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
