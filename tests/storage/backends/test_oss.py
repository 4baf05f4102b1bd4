"""Aliyun OSS: signatures, archives, copies in parts, uploads that were killed, and what is said when it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_dataflow.errors import AccessDeniedError, InvalidInputError, NotFoundError, TransferError, is_terminal
from airflow_dataflow.storage.backends import _oss_files
from airflow_dataflow.storage.directory import Directory
from tests.services.oss import SECRET, signature

LATER = datetime.now(UTC) + timedelta(days=1)
LARGE = bytes(range(256)) * (4096 * 21)
pytestmark = pytest.mark.oss


def write(directory: Directory, path: str, data: bytes, **options: Any) -> None:
    """Write a file."""
    with directory.create(path, **options) as writer:
        for start in range(0, len(data), 7 << 20):
            writer.write(data[start : start + (7 << 20)])


@pytest.fixture
def directory(oss_bucket: str, oss_options: dict[str, Any]) -> Directory:
    return Directory.from_url(f"oss://{oss_bucket}/tier", oss_options)


def test_the_signature_of_the_double_is_that_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.services.oss.SECRET", "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV")
    headers = {
        "Content-MD5": "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
        "Content-Type": "text/html",
        "Date": "Thu, 17 Nov 2005 18:49:58 GMT",
        "X-OSS-Meta-Author": "foo@bar.com",
        "X-OSS-Magic": "abracadabra",
    }
    assert signature("PUT", "/oss-example/nelson", "", headers) == "26NBxoKdsyly4EDv6inkoDft/yA="


def test_a_wrong_secret_is_refused_and_never_repeated(oss_bucket: str, oss_options: dict[str, Any]) -> None:
    directory = Directory.from_url(f"oss://{oss_bucket}/tier", {**oss_options, "secret": "wrong-secret"})
    for act in (lambda: write(directory, "a/x", b"x"), lambda: directory.read("a/x"), directory.files):
        with pytest.raises(
            AccessDeniedError, match=f"bucket '{oss_bucket}' refuses .*check the connection's"
        ) as caught:
            act()
        assert "wrong-secret" not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_missing_bucket_is_named_and_never_made(oss_options: dict[str, Any]) -> None:
    directory = Directory.from_url("oss://no-such-bucket/tier", oss_options)
    for data in (b"small", LARGE):
        with pytest.raises(NotFoundError, match=r"no bucket 'no-such-bucket' \(a/x\): create it"):
            write(directory, "a/x", data)
    with pytest.raises(NotFoundError, match="no bucket 'no-such-bucket'"):
        directory.read("a/x")


# archives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage_class", ["Archive", "ColdArchive"])
def test_an_archived_file_is_restored_before_it_is_read(directory: Directory, storage_class: str) -> None:
    write(directory, "a/x", b"content")
    backend, path = directory.backend, directory.path("a/x")
    assert backend.set_storage_class(path, storage_class) == 1
    assert backend.archive_state(path) == "archived"
    with pytest.raises(InvalidInputError, match=r"a/x in bucket .* is archived: restore it before reading it"):
        directory.read("a/x")
    for _ in range(2):
        backend.restore(path, days=1, speed="Standard")
    assert backend.archive_state(path) == "readable"
    assert directory.read("a/x") == b"content"


def test_a_restore_that_is_under_way_is_told(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    write(directory, "a/x", b"content")
    path = directory.path("a/x")
    found = {**directory.fs.info(path), "StorageClass": "ColdArchive", "Restore": 'ongoing-request="true"'}
    monkeypatch.setattr(directory.fs, "info", lambda _path: found)
    assert directory.backend.archive_state(path) == "restoring"


# large files ----------------------------------------------------------------------------------


def test_a_large_file_is_copied_in_parts_with_what_describes_it(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_oss_files, "COPY_AT_ONCE_BYTES", 1 << 20)
    monkeypatch.setattr(_oss_files, "COPY_PART_BYTES", 8 << 20)
    write(directory, "a", LARGE)
    directory.copy("a", directory, "b")
    assert directory.digest("b") == directory.digest("a")
    assert directory.backend.stamp(directory.path("b")).endswith('-3"')
    assert directory.backend.set_storage_class(directory.path("a"), "IA") == 1
    assert directory.digest("b") == directory.digest("a")
    assert directory.remove_unfinished(LATER) == []


def test_an_upload_grows_its_parts_with_the_file(directory: Directory) -> None:
    with directory.backend.create(f"{directory.root}/a", expected_bytes=10**12) as file:
        assert file.blocksize * 10_000 >= 10**12  # type: ignore[attr-defined]


def test_an_upload_that_nobody_finishes_is_swept_after_the_grace(directory: Directory) -> None:
    path = f"{directory.root}/a/large.bin"
    file = directory.fs.open(path, "wb", autocommit=False)
    file.write(LARGE)
    assert directory.files() == {}
    assert directory.remove_unfinished(datetime.now(UTC) - timedelta(hours=1)) == []
    assert directory.remove_unfinished(LATER) == [path]
    assert directory.remove_unfinished(LATER) == []
    file.closed = True


def test_a_file_that_changes_under_its_reader_is_worth_another_try(directory: Directory) -> None:
    write(directory, "a", LARGE)

    def read_on() -> None:
        with directory.open("a") as file:
            file.read(10)
            write(directory, "a", LARGE[::-1])
            file.read()

    with pytest.raises(TransferError, match=r"a in bucket .* changed while it was being read"):
        read_on()


# a store that answers as we tell it ------------------------------------------------------------


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status, code = 200, ""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"<Error><Code>{self.code}</Code><Message>said the server</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - names of the standard library

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture
def answering(oss_options: dict[str, Any]) -> Iterator[Callable[[int, str], Directory]]:
    """Return a function that starts a server with one answer to everything, and opens a folder on it."""
    servers = []

    def start(status: int, code: str) -> Directory:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"status": status, "code": code}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}"
        return Directory.from_url("oss://archive/tier", {**oss_options, "endpoint": url})

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


ANSWERS = [
    (403, "AccessDenied", AccessDeniedError, r"bucket 'archive' refuses a/x \(AccessDenied: said the server\)"),
    (403, "InvalidAccessKeyId", AccessDeniedError, "bucket 'archive' refuses a/x"),
    (403, "SecurityTokenExpired", AccessDeniedError, "bucket 'archive' refuses a/x"),
    (404, "NoSuchBucket", NotFoundError, r"no bucket 'archive' \(a/x\): create it, or correct the URL"),
    (400, "RequestTimeout", TransferError, "trouble with a/x in bucket 'archive'"),
    (409, "OperationAborted", TransferError, "trouble with a/x in bucket 'archive'"),
    (429, "TooManyRequests", TransferError, "trouble with a/x in bucket 'archive'"),
    (500, "InternalError", TransferError, "trouble with a/x in bucket 'archive': InternalError: said the server"),
    (503, "ServiceUnavailable", TransferError, "trouble with a/x in bucket 'archive'"),
]


@pytest.mark.parametrize(("status", "code", "error", "message"), ANSWERS, ids=[answer[1] for answer in ANSWERS])
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_an_answer_to_a_writer_says_whether_to_try_again(
    answering, status: int, code: str, error: type[Exception], message: str, data: bytes
) -> None:
    with pytest.raises(error, match=message) as caught:
        write(answering(status, code), "a/x", data)
    assert is_terminal(caught.value) is (error is not TransferError)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(403, "AccessDenied", AccessDeniedError), (404, "NoSuchBucket", NotFoundError), (500, "Internal", TransferError)],
)
def test_an_answer_to_a_reader_says_whether_to_try_again(
    answering, status: int, code: str, error: type[Exception]
) -> None:
    directory = answering(status, code)
    for act in (lambda: directory.read("a/x"), lambda: directory.exists("a/x"), directory.files, directory.folders):
        with pytest.raises(error, match="bucket 'archive'"):
            act()


def test_a_server_that_is_gone_is_worth_another_try(oss_options: dict[str, Any]) -> None:
    directory = Directory.from_url("oss://archive/tier", {**oss_options, "endpoint": "http://127.0.0.1:9"})
    for act in (lambda: write(directory, "a/x", b"x"), lambda: directory.read("a/x"), directory.files):
        with pytest.raises(TransferError, match="in bucket 'archive'"):
            act()


# storage classes ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_new_files_and_copies_have_the_class_of_their_tier(
    oss_bucket: str, oss_options: dict[str, Any], data: bytes
) -> None:
    directory = Directory.from_url(f"oss://{oss_bucket}/tier", oss_options, storage_class="IA")
    write(directory, "a", data, exclusive=True)
    with pytest.raises(FileExistsError):
        write(directory, "a", data, exclusive=True)
    directory.copy("a", directory, "b")
    for path in ("a", "b"):
        assert directory.backend.storage_class(directory.path(path)) == "IA"
        assert directory.digest(path)[1] == len(data)


def test_a_class_that_cannot_be_read_back_is_refused_for_new_files(
    oss_bucket: str, oss_options: dict[str, Any]
) -> None:
    directory = Directory.from_url(f"oss://{oss_bucket}/tier", oss_options, storage_class="Archive")
    with pytest.raises(InvalidInputError, match="'Archive' cannot be read back to verify them: write them as 'IA'"):
        write(directory, "a", b"x")
