"""S3: copies on the server's side, storage classes, and keys as others have made them, on two servers."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dataflow.errors import ArchivedError, InvalidInputError, NotFoundError, TransferError, UnsupportedError
from airflow_dataflow.storage.backends.s3 import S3Backend
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import LARGE, digest, write
from airflow_dataflow.transfer.copy import copy_path
from tests.storage.versions import FIRST, make_version, open_store

PART = 5 << 20
LATER = datetime.now(UTC) + timedelta(days=1)
HEADERS = {
    "ContentType": "text/x-dialogs",
    "CacheControl": "no-cache",
    "ContentDisposition": "attachment",
    "Metadata": {"owner": "tests"},
}


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let copies of more than 5 MiB be made in parts of that size, which is the least that S3 takes."""
    monkeypatch.setattr(S3Backend, "copy_at_once_bytes", PART)
    monkeypatch.setattr(S3Backend, "copy_part_bytes", PART)


@pytest.fixture
def calls(folder: Directory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], list[str]]:
    """Return a function that does something before the second request of a kind; it returns all that were made."""

    def before_the_second(method: str, act: Callable[[], None]) -> list[str]:
        made: list[str] = []
        original, lock = folder.fs.call_s3, threading.Lock()

        def call(name: str, *args: Any, **options: Any) -> Any:
            with lock:
                made.append(name)
                due = name == method and made.count(name) == 2
            if due:
                act()
            return original(name, *args, **options)

        monkeypatch.setattr(folder.fs, "call_s3", call)
        return made

    return before_the_second


def put(folder: Directory, key: str, data: bytes, **options: Any) -> None:
    """Write an object as another program does."""
    bucket, _, root = folder.root.partition("/")
    folder.fs.call_s3("put_object", Bucket=bucket, Key=f"{root}/{key}", Body=data, **options)


def head(folder: Directory, key: str) -> dict[str, Any]:
    """Return what the server says of an object."""
    bucket, _, root = folder.root.partition("/")
    return folder.fs.call_s3("head_object", Bucket=bucket, Key=f"{root}/{key}")


def tags(folder: Directory, key: str) -> dict[str, str]:
    """Return the tags of an object."""
    bucket, _, root = folder.root.partition("/")
    found = folder.fs.call_s3("get_object_tagging", Bucket=bucket, Key=f"{root}/{key}")
    return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}


# copies ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("name", ["a.bin", "ä€ [0]?#&=.bin"])
def test_a_large_copy_is_made_in_parts_and_equal(folder: Directory, calls, name: str) -> None:
    put(folder, name, LARGE, **HEADERS, Tagging="a=b&c=d%20e")
    made = calls("", lambda: None)
    folder.copy(name, folder.child("copies"), name)
    assert made.count("upload_part_copy") == -(-len(LARGE) // PART)
    assert "put_object" not in made
    assert folder.digest(f"copies/{name}") == digest(LARGE)
    found = head(folder, f"copies/{name}")
    assert {key: found[key] for key in HEADERS} == HEADERS
    assert tags(folder, f"copies/{name}") == {"a": "b", "c": "d e"}
    assert folder.remove_unfinished(LATER) == []


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize(("name", "decoy"), [("a+b", "a b"), ("a%2Bb", "a+b"), ("a%20b", "a b")])
def test_a_large_copy_is_never_made_of_a_file_whose_name_only_looks_alike(folder: Directory, name, decoy) -> None:
    put(folder, name, LARGE)
    put(folder, decoy, LARGE[::-1])
    folder.copy(name, folder, "copy")
    assert folder.digest("copy") == digest(LARGE)


@pytest.mark.usefixtures("in_parts")
def test_a_source_that_changes_while_it_is_copied_leaves_no_copy(folder: Directory, calls) -> None:
    put(folder, "a.bin", LARGE)
    calls("upload_part_copy", lambda: put(folder, "a.bin", LARGE[::-1]))
    with pytest.raises(TransferError, match="changed while it was being"):
        folder.copy("a.bin", folder, "b.bin")
    assert list(folder.files()) == ["a.bin"]
    assert folder.remove_unfinished(LATER) == []


@pytest.mark.usefixtures("in_parts")
def test_a_source_that_vanishes_while_it_is_copied_leaves_no_copy(folder: Directory, calls) -> None:
    put(folder, "a.bin", LARGE)
    calls("upload_part_copy", lambda: folder.remove("a.bin"))
    with pytest.raises((FileNotFoundError, NotFoundError)):
        folder.copy("a.bin", folder, "b.bin")
    assert folder.files() == {}
    assert folder.remove_unfinished(LATER) == []


@pytest.mark.usefixtures("in_parts")
def test_a_copy_that_cannot_be_completed_leaves_the_old_file(folder: Directory, calls, monkeypatch) -> None:
    def fail() -> None:
        raise ConnectionResetError("gone")

    put(folder, "a.bin", LARGE)
    put(folder, "b.bin", b"old")
    calls("upload_part_copy", fail)
    with pytest.raises(TransferError, match=r"trouble with b\.bin .*gone"):
        folder.copy("a.bin", folder, "b.bin")
    assert folder.read("b.bin") == b"old"
    assert folder.remove_unfinished(LATER) == []


# storage classes ------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "in parts"])
def test_a_file_that_gets_another_storage_class_keeps_all_else(folder: Directory, data: bytes) -> None:
    put(folder, "a/x", data, **HEADERS, Tagging="a=b")
    assert folder.backend.set_storage_class(folder.path("a/x"), "STANDARD_IA") == 1
    found = head(folder, "a/x")
    assert {key: found[key] for key in [*HEADERS, "StorageClass"]} == {**HEADERS, "StorageClass": "STANDARD_IA"}
    assert tags(folder, "a/x") == {"a": "b"}
    assert folder.digest("a/x") == digest(data)
    assert folder.remove_unfinished(LATER) == []


def test_new_files_and_copies_get_the_storage_class_of_their_tier(s3_place) -> None:
    url, options = s3_place
    tier = Directory.from_url(url, options, storage_class="STANDARD_IA").child("a")
    for name, data in (("small", b"x"), ("large", LARGE), ("empty", b"")):
        write(tier, name, data)
    plain = Directory.from_url(url, options)
    write(plain, "plain", b"x")
    plain.copy("plain", tier, "copied")
    assert plain.backend.storage_class(plain.path("plain")) == "STANDARD"
    classes = {name: tier.backend.storage_class(tier.path(name)) for name in tier.files()}
    assert classes == dict.fromkeys(["copied", "empty", "large", "small"], "STANDARD_IA")
    assert tier.digest("large") == digest(LARGE)


def test_new_files_are_not_written_to_where_they_cannot_be_verified(s3_place, tmp_path: Path) -> None:
    for name in ("GLACIER", "DEEP_ARCHIVE"):
        with pytest.raises(InvalidInputError, match=f"files of the class '{name}' cannot be read back"):
            write(Directory.from_url(*s3_place, storage_class=name), "a", b"x")
    with pytest.raises(UnsupportedError, match="'STANDARD_IA': set that of their folder by SetStoragePolicyOperator"):
        write(Directory.from_url(str(tmp_path), storage_class="STANDARD_IA"), "a", b"x")


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_a_storage_class_that_the_server_does_not_have_is_named_on_the_first_write(s3_place, data: bytes) -> None:
    folder = Directory.from_url(*s3_place, storage_class="STANDART_IA")
    with pytest.raises(
        InvalidInputError, match="no storage class named 'STANDART_IA' here; did you mean 'STANDARD_IA'"
    ):
        write(folder, "a", data)


def test_a_folder_that_is_not_there_has_no_storage_class_to_set(folder: Directory) -> None:
    with pytest.raises(FileNotFoundError):
        folder.backend.set_storage_class(folder.path("nothing"), "STANDARD_IA")


def test_a_folder_has_no_storage_class_of_its_own(folder: Directory) -> None:
    write(folder, "a/x", b"x")
    assert folder.backend.storage_class(folder.path("a")) is None


@pytest.mark.s3
def test_an_archived_file_is_not_copied_but_explained(bucket: str, s3_options: dict[str, Any]) -> None:
    folder = Directory.from_url(f"s3://{bucket}/tier", s3_options)
    put(folder, "a", b"x", StorageClass="DEEP_ARCHIVE")
    with pytest.raises(ArchivedError, match=r"b in bucket \S+ is archived: have it restored by RestoreDatasetOperator"):
        folder.copy("a", folder, "b")


# many keys, odd keys --------------------------------------------------------------------------


def test_more_keys_than_fit_on_a_page_are_listed_changed_and_removed(folder: Directory) -> None:
    names = [f"a/{number:04}/ä" for number in range(1005)]
    folder.fs.pipe({folder.path(name): b"x" for name in names})
    write(folder, "ab", b"x")
    assert list(folder.files()) == [*names, "ab"]
    assert folder.child("a").folders() == [f"{number:04}" for number in range(1005)]
    for name in (names[0], names[-1]):
        assert folder.backend.set_storage_class(folder.path(name), "STANDARD_IA") == 1
    assert folder.backend.set_storage_class(folder.path("a"), "STANDARD") == 2
    folder.child("a").remove_all()
    assert list(folder.files()) == ["ab"]


def test_the_keys_by_which_consoles_make_folders_are_no_files(folder: Directory, tmp_path: Path) -> None:
    for key in ("", "a/", "a/empty/"):
        put(folder, key, b"")
    put(folder, "a/x", b"x")
    assert folder.files() == {"a/x": 1}
    assert folder.folders() == ["a"]
    assert folder.child("a").folders() == ["empty"]
    assert folder.child("a/empty").files() == {}
    assert datetime.now(UTC) - folder.changed_at() < timedelta(minutes=1)
    assert datetime.now(UTC) - folder.child("a/empty").changed_at() < timedelta(minutes=1)
    copied = copy_path(folder.url, str(tmp_path / "copy"), source_options=folder.fs.storage_options)
    assert copied.files == 1
    folder.child("a").remove_all()
    bucket, _, root = folder.root.partition("/")
    assert [item["Key"] for item in folder.fs.call_s3("list_objects_v2", Bucket=bucket)["Contents"]] == [f"{root}/"]


def test_a_bucket_itself_can_be_a_tier(s3_place, tmp_path: Path) -> None:
    url, options = s3_place
    bucket = urllib.parse.urlsplit(url).netloc
    store = open_store(tmp_path, cold=(f"s3://{bucket}", options))
    manifest = make_version(store, FIRST)
    folder = store.place(store.tier("cold"), manifest.dataset, manifest.version)
    assert copy_path(store.directory(manifest).url, folder.url, target_options=options).files == 4
    assert list(Directory.from_url(f"s3://{bucket}", options).files()) == [
        f"support/dialogs/{manifest.version}/{name}"
        for name in ("_manifest.json", "data/0.bin", "data/1.bin", "quarantine/0.bin")
    ]
