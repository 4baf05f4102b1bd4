"""What a store knows of files beside their bytes: stamps, space, storage classes, archives, unfinished writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_dataflow.errors import InvalidInputError, UnsupportedError
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import LARGE, as_another_process_sees, write, write_in_pieces


class PropertyContract:
    """Tests of what the backend adds to fsspec."""

    knows_free_bytes = True
    """Whether the store tells how much space is left."""
    has_stamps = True
    """Whether the store tells a changed file without reading it."""
    usable_storage_classes: tuple[str, ...] | None = None
    """Those of the backend's storage classes that this server has; all of them when ``None``."""

    @pytest.fixture
    def directory(self) -> Directory:
        """Return an empty folder on the file system that the backend serves."""
        raise NotImplementedError

    def _classes(self, directory: Directory) -> tuple[str, ...]:
        usable = self.usable_storage_classes
        return directory.backend.storage_classes if usable is None else usable

    # stamps -----------------------------------------------------------------------------------

    def test_a_stamp_differs_after_every_change_of_the_content(self, directory: Directory) -> None:
        backend, path = directory.backend, directory.path("a/x")
        stamps = []
        for data in (b"one", b"two", b"longer", LARGE):
            write(directory, "a/x", data)
            stamps.append(backend.stamp(path))
        if self.has_stamps:
            assert None not in stamps
            assert len(set(stamps)) == len(stamps)
        else:
            assert set(stamps) == {None}

    def test_a_stamp_stays_while_nobody_writes(self, directory: Directory) -> None:
        write(directory, "a/x", b"one")
        before = directory.backend.stamp(directory.path("a/x"))
        assert directory.read("a/x") == b"one"
        write(directory, "a/y", b"two")
        directory.copy("a/x", directory, "a/z")
        other = as_another_process_sees(directory)
        assert other.backend.stamp(other.path("a/x")) == directory.backend.stamp(directory.path("a/x")) == before

    def test_what_is_missing_has_no_stamp_and_no_state(self, directory: Directory) -> None:
        write(directory, "a/x", b"one")
        path = directory.path("a/y")
        for act in (directory.backend.stamp, directory.backend.archive_state):
            with pytest.raises(FileNotFoundError):
                act(path)
        with pytest.raises(FileNotFoundError):
            directory.backend.restore(path, days=1, speed="Standard")

    # space ------------------------------------------------------------------------------------

    def test_the_free_space_is_known_where_it_can_be(self, directory: Directory) -> None:
        free = directory.backend.free_bytes(directory.root)
        assert (free is not None and free > 0) is self.knows_free_bytes

    def test_the_capacity_is_no_less_than_what_is_free(self, directory: Directory) -> None:
        capacity = directory.backend.capacity_bytes(directory.root)
        free = directory.backend.free_bytes(directory.root)
        assert capacity is None or capacity > 0
        assert capacity is None or free is None or free <= capacity

    # storage classes --------------------------------------------------------------------------

    def test_a_file_gets_every_storage_class_and_keeps_its_content(self, directory: Directory) -> None:
        backend = directory.backend
        for name in self._classes(directory):
            write(directory, f"{name}/x", b"content")
            path = directory.path(f"{name}/x")
            assert backend.set_storage_class(path, name) in (0, 1), name
            assert backend.storage_class(path) == name
            assert backend.set_storage_class(path, name) == 0, name
            assert directory.files()[f"{name}/x"] == len(b"content"), name
            if backend.archive_state(path) == "readable":
                assert directory.read(f"{name}/x") == b"content", name

    def test_a_folder_gets_a_storage_class_as_a_whole_and_its_neighbours_keep_theirs(
        self, directory: Directory
    ) -> None:
        backend = directory.backend
        for path in ("a/x", "a/b/y", "ab/x"):
            write(directory, path, b"content")
        before = backend.storage_class(directory.path("ab/x"))
        for name in [name for name in self._classes(directory) if name != before][:1]:
            assert backend.set_storage_class(directory.path("a"), name) == 2
            classes = [backend.storage_class(directory.path(path)) for path in ("a/x", "a/b/y", "ab/x")]
            assert classes == [name, name, before]
            assert backend.set_storage_class(directory.path("a"), name) == 0

    def test_a_storage_class_that_does_not_exist_is_refused(self, directory: Directory) -> None:
        write(directory, "a/x", b"content")
        backend, path = directory.backend, directory.path("a/x")
        before = backend.storage_class(path)
        error = InvalidInputError if backend.storage_classes else UnsupportedError
        with pytest.raises(error, match="'NO_SUCH_CLASS'"):
            backend.set_storage_class(path, "NO_SUCH_CLASS")
        assert backend.storage_class(path) == before

    def test_a_fresh_file_is_readable_and_a_restore_of_it_changes_nothing(self, directory: Directory) -> None:
        write(directory, "a/x", b"content")
        backend, path = directory.backend, directory.path("a/x")
        before = backend.stamp(path)
        assert backend.archive_state(path) == "readable"
        for _ in range(2):
            backend.restore(path, days=1, speed="Standard")
        assert backend.archive_state(path) == "readable"
        assert backend.stamp(path) == before
        assert directory.read("a/x") == b"content"

    # unfinished writes ------------------------------------------------------------------------

    def test_a_file_that_is_being_written_is_not_taken_for_rubbish(self, directory: Directory) -> None:
        with directory.create("a/x") as writer:
            write_in_pieces(writer, LARGE)
            assert directory.remove_unfinished(datetime.now(UTC) - timedelta(hours=1)) == []
        assert directory.files() == {"a/x": len(LARGE)}

    def test_finished_files_are_never_removed_as_unfinished(self, directory: Directory) -> None:
        for path in ("x", "a/y"):
            write(directory, path, b"content")
        assert directory.remove_unfinished(datetime.now(UTC) + timedelta(days=1)) == []
        assert list(directory.files()) == ["a/y", "x"]
