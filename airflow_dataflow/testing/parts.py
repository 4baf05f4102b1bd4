"""Files that are read and written in parts: pinned, resumed by another process, never seen before they are whole."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, cast

import pytest

from airflow_dataflow.errors import InvalidInputError, SourceChangedError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.storage.parts import Parts, Upload
from airflow_dataflow.testing.contents import LARGE, MIB, as_another_process_sees, digest, write

MOST_PART_BYTES = 8 * MIB
TOMORROW = timedelta(days=1)
_Test = ParamSpec("_Test")


def pieces(directory: Directory, data: bytes = LARGE) -> list[bytes]:
    """Return what the parts of a file hold."""
    parts = Parts(len(data), _part_bytes(directory, len(data)))
    return [data[parts.start(number) :][: parts.length(number)] for number in range(parts.count)]


def begin(directory: Directory, path: str, size: int = len(LARGE)) -> Upload:
    """Begin a file in parts."""
    place = directory.path(path)
    return directory.backend.begin_upload(place, size=size, part_bytes=_part_bytes(directory, size))


def resume(directory: Directory, path: str, handle: str) -> Upload | None:
    """Return an upload as another process finds it."""
    other = as_another_process_sees(directory)
    return other.backend.resume_upload(other.path(path), handle)


def _part_bytes(directory: Directory, size: int) -> int:
    return min(directory.backend.part_bytes(size) or 0, MOST_PART_BYTES)


def only_with_parts(test: Callable[_Test, None]) -> Callable[_Test, None]:
    """Let a test end at once for a store that takes no parts, of which another test makes sure."""

    @functools.wraps(test)
    def run(*self: _Test.args, **fixtures: _Test.kwargs) -> None:
        directory = cast(Directory, fixtures["directory"])
        if directory.backend.part_bytes(len(LARGE)) is not None:
            test(*self, **fixtures)

    return run


class PartContract:
    """Tests of parts, and of small files that are written at once."""

    @pytest.fixture
    def directory(self) -> Directory:
        """Return an empty folder on the file system that the backend serves."""
        raise NotImplementedError

    # writing in parts -------------------------------------------------------------------------

    def test_a_store_without_parts_says_so(self, directory: Directory) -> None:
        backend, path = directory.backend, directory.path("a/x")
        if backend.part_bytes(len(LARGE)) is None:
            with pytest.raises(NotImplementedError, match="takes no parts"):
                backend.begin_upload(path, size=len(LARGE), part_bytes=MIB)
            assert backend.resume_upload(path, "any") is None
        else:
            assert (backend.part_bytes(1 << 40) or 0) >= (backend.part_bytes(len(LARGE)) or 0) >= MIB

    @only_with_parts
    def test_parts_become_a_file_that_nobody_sees_before(self, directory: Directory) -> None:
        upload, parts = begin(directory, "a/x"), pieces(directory)
        numbers = range(len(parts)) if upload.in_order else reversed(range(len(parts)))
        tokens = {}
        for number in numbers:
            tokens[number] = upload.put(number, memoryview(parts[number]))
            assert not directory.exists("a/x")
            assert directory.files() == {}
            assert upload.read(number) in (None, parts[number])
        upload.publish([tokens[number] for number in range(len(parts))])
        assert directory.digest("a/x") == digest(LARGE)
        assert directory.files() == {"a/x": len(LARGE)}
        assert directory.remove_unfinished(datetime.now(UTC) + TOMORROW) == []

    @only_with_parts
    def test_parts_of_several_files_are_written_at_once(self, directory: Directory) -> None:
        parts = pieces(directory)

        def send(name: str) -> None:
            upload = begin(directory, name)
            with ThreadPoolExecutor(1 if upload.in_order else 3) as pool:
                upload.publish(list(pool.map(upload.put, range(len(parts)), parts)))

        with ThreadPoolExecutor(2) as files:
            list(files.map(send, ("a", "b")))
        assert directory.digest("a") == directory.digest("b") == digest(LARGE)

    @only_with_parts
    @pytest.mark.parametrize("size", [1, MIB + 1])
    def test_a_file_of_one_part_is_a_file(self, directory: Directory, size: int) -> None:
        upload = begin(directory, "a", size)
        upload.publish([upload.put(0, LARGE[:size])])
        assert directory.read("a") == LARGE[:size]

    @only_with_parts
    def test_another_process_goes_on(self, directory: Directory) -> None:
        parts = pieces(directory)
        upload: Upload | None = begin(directory, "ä/a b+c.bin")
        tokens = []
        for number, data in enumerate(parts):
            assert upload is not None
            tokens.append(upload.put(number, data))
            assert tokens[-1].isprintable()
            assert upload.handle.isprintable()
            upload = resume(directory, "ä/a b+c.bin", upload.handle)
        assert upload is not None
        upload.publish(tokens)
        assert directory.digest("ä/a b+c.bin") == digest(LARGE)
        assert resume(directory, "ä/a b+c.bin", upload.handle) is None

    @only_with_parts
    def test_a_part_that_is_sent_again_replaces_the_first_one(self, directory: Directory) -> None:
        upload, parts, tokens = begin(directory, "a"), pieces(directory), []
        for number, data in enumerate(parts):
            upload.put(number, bytes(len(data)))
            tokens.append(upload.put(number, data))
        resumed = resume(directory, "a", upload.handle)
        assert resumed is not None
        tokens[-1] = resumed.put(len(parts) - 1, parts[-1])
        resumed.publish(tokens)
        assert directory.digest("a") == digest(LARGE)

    @only_with_parts
    def test_parts_of_another_size_and_missing_ones_are_refused(self, directory: Directory) -> None:
        upload, parts = begin(directory, "a"), pieces(directory)
        for number, data in ((0, parts[0][:-1]), (0, parts[0] + b"x"), (len(parts), b"x"), (-1, parts[0])):
            with pytest.raises(InvalidInputError, match="are not part"):
                upload.put(number, data)
        token = upload.put(0, parts[0])
        with pytest.raises(InvalidInputError, match="1 parts are not the"):
            upload.publish([token])
        assert directory.files() == {}
        upload.discard()

    @only_with_parts
    def test_an_upload_that_is_discarded_leaves_what_was_there(self, directory: Directory) -> None:
        write(directory, "a", b"old")
        upload, parts = begin(directory, "a"), pieces(directory)
        upload.put(0, parts[0])
        for _ in range(2):
            upload.discard()
        assert resume(directory, "a", upload.handle) is None
        assert directory.files() == {"a": 3}
        assert directory.read("a") == b"old"
        assert directory.remove_unfinished(datetime.now(UTC) + TOMORROW) == []

    @only_with_parts
    def test_parts_replace_a_file_unless_they_must_not(self, directory: Directory) -> None:
        write(directory, "a", b"old")
        parts = pieces(directory)
        first, second = begin(directory, "a"), begin(directory, "a")
        tokens = [[upload.put(number, data) for number, data in enumerate(parts)] for upload in (first, second)]
        with pytest.raises(FileExistsError):
            first.publish(tokens[0], exclusive=True)
        assert directory.read("a") == b"old"
        first.discard()
        second.publish(tokens[1])
        assert directory.digest("a") == digest(LARGE)
        third = begin(directory, "b")
        third.publish([third.put(number, data) for number, data in enumerate(parts)], exclusive=True)
        assert directory.digest("b") == digest(LARGE)
        assert directory.remove_unfinished(datetime.now(UTC) + TOMORROW) == []

    @only_with_parts
    def test_a_handle_leads_to_its_own_upload_or_to_none(self, directory: Directory) -> None:
        parts = pieces(directory)
        write(directory, "other", b"old")
        upload = begin(directory, "a/x")
        token, handle = upload.put(0, parts[0]), upload.handle
        strange = ["", " ", "../../x", "/etc/passwd", "ä\n\0", "x" * 5000, f"{handle}x", f"x{handle}", handle[:-1]]
        for damaged in (*strange, *(handle.replace(character, "/") for character in set(handle) if character != "/")):
            assert resume(directory, "a/x", damaged) is None, damaged
        assert resume(directory, "a/y", handle) is None
        assert resume(directory, "other", handle) is None
        found = resume(directory, "a/x", handle)
        assert found is not None
        found.publish([token, *(found.put(number, parts[number]) for number in range(1, len(parts)))])
        assert directory.read("other") == b"old"
        assert directory.digest("a/x") == digest(LARGE)

    @only_with_parts
    def test_a_sweep_ends_uploads_that_nobody_goes_on_with(self, directory: Directory) -> None:
        write(directory, "a/x", b"old")
        upload, parts = begin(directory, "a/x"), pieces(directory)
        upload.put(0, parts[0])
        now = datetime.now(UTC)
        assert directory.remove_unfinished(now - timedelta(hours=1)) == []
        assert resume(directory, "a/x", upload.handle) is not None
        assert directory.child("b").remove_unfinished(now + TOMORROW) == []
        assert len(directory.remove_unfinished(now + TOMORROW)) >= 1
        assert resume(directory, "a/x", upload.handle) is None
        assert directory.remove_unfinished(now + TOMORROW) == []
        assert directory.files() == {"a/x": 3}
        upload.discard()

    # writing at once --------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 1, MIB + 1])
    def test_a_small_file_is_put_whole_and_replaces_another(self, directory: Directory, size: int) -> None:
        for path in ("a/ä b+c", "b"):
            for data in (b"old", LARGE[:size]):
                proof = directory.backend.put(directory.path(path), memoryview(data))
                assert proof in (True, False, directory.backend.stamp(directory.path(path)))
                assert directory.read(path) == data
        assert directory.files() == {"a/ä b+c": size, "b": size}
        assert directory.remove_unfinished(datetime.now(UTC) + TOMORROW) == []

    # reading in parts -------------------------------------------------------------------------

    def test_any_range_is_read_as_the_pinned_file_has_it(self, directory: Directory) -> None:
        backend, path = directory.backend, directory.path("a b/ä+c")
        write(directory, "a b/ä+c", LARGE)
        pin, size = backend.stamp(path), len(LARGE)
        backend.check_pin(path, pin)
        for start, length in ((0, 1), (5, MIB + 3), (7 * MIB, 9 * MIB), (size - 4, 4), (size - 4, 100), (0, size)):
            assert backend.read_range(path, start, length, pin=pin) == LARGE[start : start + length]
            assert backend.read_range(path, start, length) == LARGE[start : start + length]
        with ThreadPoolExecutor(4) as pool:
            read = list(
                pool.map(lambda number: backend.read_range(path, number * MIB, MIB, pin=pin), range(size // MIB))
            )
        assert b"".join(read) == LARGE

    def test_an_empty_file_has_no_bytes_to_read(self, directory: Directory) -> None:
        write(directory, "a", b"")
        backend, path = directory.backend, directory.path("a")
        assert backend.read_range(path, 0, 10, pin=backend.stamp(path)) == b""

    @pytest.mark.parametrize("new", [b"other", b"longer than it was", b""], ids=["equal size", "longer", "empty"])
    def test_a_file_that_was_replaced_is_refused(self, directory: Directory, new: bytes) -> None:
        write(directory, "a", b"first")
        backend, path = directory.backend, directory.path("a")
        pin = backend.stamp(path)
        write(directory, "a", new)
        if pin is None:
            return
        with pytest.raises(SourceChangedError, match="replaced while it was being copied"):
            backend.read_range(path, 0, 3, pin=pin)
        with pytest.raises(SourceChangedError, match="replaced while it was being copied"):
            backend.check_pin(path, pin)
        backend.check_pin(path, None)

    def test_a_file_that_was_removed_is_refused(self, directory: Directory) -> None:
        write(directory, "a/x", b"first")
        backend, path = directory.backend, directory.path("a/x")
        pin = backend.stamp(path)
        directory.remove("a/x")
        with pytest.raises(FileNotFoundError):
            backend.read_range(path, 0, 3)
        if pin is None:
            return
        with pytest.raises(SourceChangedError, match="removed while it was being copied"):
            backend.read_range(path, 0, 3, pin=pin)
        with pytest.raises(SourceChangedError, match="removed while it was being copied"):
            backend.check_pin(path, pin)
