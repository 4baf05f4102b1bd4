"""Google Cloud Storage: what is said when it refuses, is busy or gone, and what a class does to an object."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_dataflow.errors import AccessDeniedError, InvalidInputError, NotFoundError, TransferError, is_terminal
from airflow_dataflow.storage.backends import backend_of, open_url
from airflow_dataflow.storage.directory import Directory

LARGE = bytes(range(256)) * (4096 * 21)
pytestmark = pytest.mark.gcs


def write(directory: Directory, path: str, data: bytes, **options: Any) -> None:
    """Write a file."""
    with directory.create(path, **options) as writer:
        for start in range(0, len(data), 7 << 20):
            writer.write(data[start : start + (7 << 20)])


@pytest.fixture
def directory(gcs_bucket: str, gcs_options: dict[str, Any]) -> Directory:
    return Directory.from_url(f"gs://{gcs_bucket}/tier", gcs_options)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gcsfs try again at once."""
    monkeypatch.setattr("gcsfs.retry.min", lambda *_seconds: 0, raising=False)


# a store that answers as we tell it ------------------------------------------------------------


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"error": {"code": self.status, "message": "said the server"}}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - names of the standard library

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture
def answering(gcs_options: dict[str, Any], _impatient: None) -> Iterator[Callable[[int], Directory]]:
    """Return a function that starts a server with one answer to everything, and opens a folder on it."""
    servers = []

    def start(status: int) -> Directory:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"status": status}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Directory.from_url(
            "gs://archive/tier", {**gcs_options, "endpoint_url": f"http://127.0.0.1:{server.server_port}"}
        )

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


ANSWERS = [
    (401, AccessDeniedError, "bucket 'archive' refuses a/x .*check the connection's credentials"),
    (403, AccessDeniedError, "bucket 'archive' refuses a/x .*check the connection's credentials"),
    (429, TransferError, "trouble with a/x in bucket 'archive': said the server"),
    (500, TransferError, "trouble with a/x in bucket 'archive': said the server"),
    (502, TransferError, "trouble with a/x in bucket 'archive'"),
    (503, TransferError, "trouble with a/x in bucket 'archive'"),
]


@pytest.mark.parametrize(("status", "error", "message"), ANSWERS)
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_an_answer_to_a_writer_says_whether_to_try_again(
    answering, status: int, error: type[Exception], message: str, data: bytes
) -> None:
    with pytest.raises(error, match=message) as caught:
        write(answering(status), "a/x", data)
    assert is_terminal(caught.value) is (error is not TransferError)


@pytest.mark.parametrize(("status", "error"), [(status, error) for status, error, _ in ANSWERS])
def test_an_answer_to_a_reader_says_whether_to_try_again(answering, status: int, error: type[Exception]) -> None:
    directory = answering(status)
    for act in (lambda: directory.read("a/x"), lambda: directory.exists("a/x"), directory.files, directory.folders):
        with pytest.raises(error, match="bucket 'archive'"):
            act()


@pytest.mark.usefixtures("_impatient")
def test_a_server_that_is_gone_is_worth_another_try(gcs_options: dict[str, Any]) -> None:
    directory = Directory.from_url("gs://archive/tier", {**gcs_options, "endpoint_url": "http://127.0.0.1:9"})
    for act in (lambda: write(directory, "a/x", b"x"), lambda: directory.read("a/x"), directory.files):
        with pytest.raises(TransferError, match="in bucket 'archive'"):
            act()


def test_a_missing_bucket_is_named_and_never_made(gcs_options: dict[str, Any]) -> None:
    directory = Directory.from_url("gs://no-such-bucket/tier", gcs_options)
    for data in (b"small", LARGE):
        with pytest.raises(NotFoundError, match=r"no bucket 'no-such-bucket' \(a/x\): create it"):
            write(directory, "a/x", data)
    with pytest.raises(NotFoundError):
        directory.read("a/x")
    assert not directory.fs.exists("no-such-bucket")


def test_both_names_of_the_protocol_open_the_same_store(gcs_bucket: str, gcs_options: dict[str, Any]) -> None:
    write(Directory.from_url(f"gs://{gcs_bucket}/tier", gcs_options), "a", b"content")
    other = Directory.from_url(f"gcs://{gcs_bucket}/tier", gcs_options)
    assert other.read("a") == b"content"
    kinds = {type(backend_of(open_url(f"{scheme}://bucket", gcs_options)[0])).__name__ for scheme in ("gs", "gcs")}
    assert kinds == {"GcsBackend"}


def test_an_upload_that_fails_for_good_is_ended(directory: Directory) -> None:
    locations: list[str] = []

    def fail() -> None:
        with directory.create("a/x") as writer:
            writer.write(LARGE)
            locations.append(writer._file.location)  # type: ignore[attr-defined]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(FileNotFoundError):
        directory.fs.call("PUT", locations[0], headers={"Content-Range": "bytes */*"})


def test_a_new_class_keeps_what_describes_the_object(directory: Directory) -> None:
    path = directory.path("a.html")
    directory.fs.pipe_file(path, b"<p>", content_type="text/html")
    before = directory.backend.stamp(path)
    assert directory.backend.set_storage_class(path, "NEARLINE") == 1
    found = directory.fs.info(path)
    assert (found["contentType"], found["storageClass"]) == ("text/html", "NEARLINE")
    assert directory.backend.stamp(path) != before
    assert directory.read("a.html") == b"<p>"


def test_an_object_that_is_replaced_meanwhile_keeps_its_new_content_and_class(directory: Directory) -> None:
    write(directory, "a", b"old")
    found = directory.fs.info(directory.path("a"))
    write(directory, "a", b"new")
    with pytest.raises(FileExistsError):
        directory.backend._rewrite(found, found["name"], "ARCHIVE", found["generation"])
    assert directory.read("a") == b"new"
    assert directory.backend.storage_class(directory.path("a")) == "STANDARD"


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_new_files_and_copies_have_the_class_of_their_tier(
    gcs_bucket: str, gcs_options: dict[str, Any], data: bytes
) -> None:
    directory = Directory.from_url(f"gs://{gcs_bucket}/tier", gcs_options, storage_class="COLDLINE")
    write(directory, "a", data, exclusive=True)
    with pytest.raises(FileExistsError):
        write(directory, "a", data, exclusive=True)
    directory.copy("a", directory, "b")
    for path in ("a", "b"):
        assert directory.backend.storage_class(directory.path(path)) == "COLDLINE"
        assert directory.digest(path)[1] == len(data)
    with pytest.raises(InvalidInputError, match="did you mean 'COLDLINE'"):
        Directory.from_url(f"gs://{gcs_bucket}/tier", gcs_options, storage_class="COLDLIN").read("a")
