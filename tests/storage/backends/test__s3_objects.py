"""Small objects on S3 through obstore: fewer requests, and nothing else is different."""

from __future__ import annotations

from typing import Any

import pytest
from s3fs import core

from airflow_dataflow.errors import NotFoundError
from airflow_dataflow.storage.backends import _s3_objects
from airflow_dataflow.storage.backends._s3_objects import SMALL_BYTES, SmallObjects
from airflow_dataflow.storage.directory import Directory
from airflow_dataflow.testing.contents import write

SIZES = [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1]
NAMES = ["a", "a b", "a%20b", "a#?[0]*+&=", "ä€😀", "a//b", "~a|b^c`{}<>"]


@pytest.fixture
def through_s3fs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the requests that s3fs makes from now on."""
    made = []
    original = core._error_wrapper

    async def request(function, **options):
        made.append(getattr(function, "__name__", "read"))
        return await original(function, **options)

    monkeypatch.setattr(core, "_error_wrapper", request)
    return made


@pytest.fixture(params=["with obstore", "without"])
def either(request: pytest.FixtureRequest, s3_place, monkeypatch: pytest.MonkeyPatch) -> Directory:
    """Return an empty prefix, on a machine that has obstore and on one that has not."""
    if request.param == "without":
        monkeypatch.setattr(_s3_objects.importlib.util, "find_spec", lambda name: None)
    url, options = s3_place
    return Directory.from_url(url, {**options, "skip_instance_cache": True})


def works(folder: Directory) -> bool:
    """Tell whether small objects still go through obstore."""
    return SmallObjects.of(folder.fs).works


@pytest.mark.parametrize("size", SIZES)
def test_objects_of_any_size_come_back_as_they_were_written(either: Directory, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    write(either, "a/x", data)
    assert either.read("a/x") == data
    with either.open("a/x") as file:
        file.seek(max(0, size - 3))
        assert file.read() == data[-3:]
    with pytest.raises(FileExistsError), either.create("a/x", exclusive=True) as writer:
        writer.write(b"other")
    assert either.size("a/x") == size


@pytest.mark.parametrize("name", NAMES)
def test_names_mean_the_same_to_both(s3_place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    url, options = s3_place
    fast = Directory.from_url(url, {**options, "skip_instance_cache": True})
    write(fast, f"fast/{name}", b"fast")
    assert fast.read(f"fast/{name}") == b"fast"
    assert works(fast)
    monkeypatch.setattr(_s3_objects.importlib.util, "find_spec", lambda name: None)
    plain = Directory.from_url(url, {**options, "skip_instance_cache": True})
    write(plain, f"plain/{name}", b"plain")
    assert (plain.read(f"fast/{name}"), fast.read(f"plain/{name}")) == (b"fast", b"plain")
    assert fast.files() == {f"fast/{name}": 4, f"plain/{name}": 5}


def test_a_small_object_takes_one_request(s3_place, through_s3fs: list[str]) -> None:
    url, options = s3_place
    # What went wrong in other tests would count against the file system that they share.
    folder = Directory.from_url(url, {**options, "skip_instance_cache": True})
    write(folder, "a/x", b"x")
    assert folder.read("a/x") == b"x"
    with pytest.raises(NotFoundError, match="no file 'a/y' in s3://"):
        folder.read("a/y")
    with pytest.raises(FileExistsError), folder.create("a/x", exclusive=True) as writer:
        writer.write(b"y")
    assert through_s3fs == []
    assert works(folder)


def test_an_object_that_vanishes_is_missing_as_ever(either: Directory) -> None:
    write(either, "a/x", b"x")
    either.remove("a/x")
    with pytest.raises(NotFoundError, match="no file 'a/x' in s3://"):
        either.read("a/x")


@pytest.mark.parametrize(
    "special",
    [
        {"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}},
        {"config_kwargs": {"proxies": {}}},
        {"client_kwargs": {"verify": True}},
        {"requester_pays": True},
    ],
    ids=lambda special: next(iter(special)),
)
def test_what_only_s3fs_can_do_is_left_to_it(s3_options: dict[str, Any], bucket: str, special: dict[str, Any]) -> None:
    client = {**s3_options["client_kwargs"], **special.get("client_kwargs", {})}
    folder = Directory.from_url(f"s3://{bucket}/tier", {**s3_options, **special, "client_kwargs": client})
    write(folder, "a/x", b"x")
    assert folder.read("a/x") == b"x"
    assert not works(folder)


def test_after_trouble_everything_goes_through_s3fs(
    s3_place, through_s3fs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise OSError("gone")

    url, options = s3_place
    folder = Directory.from_url(url, {**options, "skip_instance_cache": True})
    monkeypatch.setattr("obstore.put", fail)
    for _ in range(3):
        assert works(folder)
        write(folder, "a/x", b"x")
    assert through_s3fs == ["put_object"] * 3
    assert not works(folder)
    assert folder.read("a/x") == b"x"
    assert "get_object" in through_s3fs
